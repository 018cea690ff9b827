"""Words for a segment: a name a manager would use and a sentence with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# What a mean clearly above or below everybody's is called; None where it says nothing worth a name.
WORDS: dict[str, tuple[str | None, str | None]] = {
    "discount_depth_rate": ("discount hunters", "full-price buyers"),
    "coupon_line_rate": ("coupon users", None),
    "mailer_spend_rate": ("mailer readers", "mailer-blind"),
    "display_spend_rate": ("display buyers", None),
    "order_91d_count": ("frequent visitors", "rare visitors"),
    "recency_days": ("lapsing", None),
    "basket_spend_amount": ("big baskets", "small baskets"),
    "category_entropy_rate": ("varied tastes", "narrow tastes"),
    "private_brand_rate": ("own-brand fans", "name-brand fans"),
    "price_sensitivity_rate": ("price-sensitive", "price-relaxed"),
    "evening_order_rate": ("evening shoppers", "daytime shoppers"),
    "weekend_order_rate": ("weekend shoppers", "weekday shoppers"),
}
_VALUE_COLUMN = "weekly_spend_amount"
_CLEAR = 0.25
_VALUE_CLEAR = 0.25
_WORDS_IN_NAME = 2


def segment_names(contrasts: Sequence[Mapping[str, float]]) -> list[str]:
    """Name segments by spend level and their clearest differences from everybody.

    Args:
        contrasts: Per segment, mean minus everybody's mean in standard deviations, by column.

    Returns:
        One name each, all different: where two would be alike, further differences are added, then a number.
    """
    candidates = [_words(contrast) for contrast in contrasts]
    names: list[str] = []
    for level, words in zip((_level(contrast) for contrast in contrasts), candidates, strict=True):
        name = _joined(level, words[:_WORDS_IN_NAME])
        for extra in range(_WORDS_IN_NAME + 1, len(words) + 1):
            if name not in names:
                break
            name = _joined(level, words[:extra])
        base, number = name, 2
        while name in names:
            name, number = f"{base} ({number})", number + 1
        names.append(name)
    return names


def describe_segment(
    averages: Mapping[str, float], overall: Mapping[str, float], *, customer_rate: float, sales_rate: float
) -> str:
    """How a segment differs from the average customer, in words and figures.

    Args:
        averages: Mean of each feature in the segment.
        overall: Mean of each feature over all customers.
        customer_rate: Share of customers.
        sales_rate: Share of spend.
    """
    parts = [f"{customer_rate:.0%} of customers, {sales_rate:.0%} of spend"]
    told = (
        (_VALUE_COLUMN, "spend {:.2f} a week (all: {:.2f})"),
        ("order_91d_count", "{:.1f} visits in 91 days (all: {:.1f})"),
        ("basket_spend_amount", "{:.2f} a basket (all: {:.2f})"),
    )
    shares = (
        ("discount_depth_rate", "discounts of {:.0%} of regular value (all: {:.0%})"),
        ("coupon_line_rate", "coupons on {:.1%} of lines (all: {:.1%})"),
        ("mailer_spend_rate", "{:.0%} of spend on mailer products (all: {:.0%})"),
    )
    for name, form in (*told, *shares):
        if name in averages and name in overall:
            parts.append(form.format(averages[name], overall[name]))
    return "; ".join(parts) + "."


def _level(contrast: Mapping[str, float]) -> str:
    value = contrast.get(_VALUE_COLUMN, 0.0)
    if value > _VALUE_CLEAR:
        return "High spenders"
    return "Light spenders" if value < -_VALUE_CLEAR else "Middle spenders"


def _words(contrast: Mapping[str, float]) -> list[str]:
    strongest = sorted(WORDS, key=lambda name: (-abs(contrast.get(name, 0.0)), name))
    words = [
        WORDS[name][0 if contrast[name] > 0 else 1] for name in strongest if abs(contrast.get(name, 0.0)) >= _CLEAR
    ]
    return [word for word in words if word is not None]


def _joined(level: str, words: Sequence[str]) -> str:
    return level + (f": {', '.join(words)}" if words else "")
