"""``conf/promotions.yaml``: what the plan may choose from, and what each mechanic has to say of itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from promo_spark.contracts.source_settings import Frozen

Mechanic = Literal[
    "percent_off",
    "coupon",
    "spend_threshold",
    "display",
    "mailer",
    "members_only",
    "flash_sale",
    "gift",
    "cashback",
    "points",
    "bundle",
    "joint",
]
Share = Annotated[float, Field(ge=0, le=1)]
Hour = Annotated[int, Field(ge=0, le=23)]

# What a mechanic cannot do without.
_NEEDS: dict[str, tuple[str, ...]] = {
    "spend_threshold": ("threshold_amount", "depth_rate"),
    "flash_sale": ("depth_rate",),
    "gift": ("gift_unit_cost_amount",),
    "cashback": ("depth_rate",),
    "points": ("points_per_amount", "point_value_amount"),
    "bundle": ("depth_rate",),
    "joint": ("depth_rate", "vendor_share_rate"),
}
# What means something only to some mechanics; the rest is for all.
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "threshold_amount": ("spend_threshold", "gift"),
    "stretch_prob": ("spend_threshold", "gift", "bundle"),
    "bundle_units": ("bundle",),
    "gift_unit_cost_amount": ("gift",),
    "gift_stock_count": ("gift",),
    "cashback_cap_amount": ("cashback",),
    "cashback_delay_days": ("cashback",),
    "annual_discount_rate": ("cashback",),
    "points_per_amount": ("points",),
    "point_value_amount": ("points",),
    "breakage_rate": ("cashback", "points"),
    "flash_hours": ("flash_sale",),
    "flash_shift_rate": ("flash_sale",),
}
_WITHOUT_DEPTH = ("gift", "points")
_UNLIKE_DISCOUNTS = ("gift", "cashback", "points")
_PRICED_BY_BASKETS = ("spend_threshold", "gift", "cashback", "points", "bundle")


class Offer(Frozen):
    """An offer the plan may choose: its levers, how it is told, and what telling costs."""

    offer_id: str = Field(pattern="^[a-z0-9_]+$")
    name: str
    mechanic: Mechanic
    depth_rate: float = Field(default=0.0, ge=0, lt=1, description="Discount on the regular price, or given back")
    display_rate: Share = Field(default=0.0, description="Share of the category on display")
    mailer_rate: Share = Field(default=0.0, description="Share of the category in the mailer")
    participation_rate: Share = Field(
        default=1.0, description="Share of customers told who take part: redeem, register, are members"
    )
    threshold_amount: float | None = Field(default=None, gt=0, description="Spend in one basket that earns it")
    stretch_rate: Share = Field(default=0.2, description="Below this share of the threshold short of it none moves up")
    stretch_prob: Share = Field(default=0.0, description="Chance that a basket just short of earning it moves up")
    bundle_units: int = Field(default=2, ge=2, description="Units of the category in one basket that earn it")
    gift_unit_cost_amount: float = Field(default=0.0, ge=0, description="Cost of one gift")
    gift_stock_count: int | None = Field(default=None, ge=0, description="Gifts per segment and category")
    cashback_cap_amount: float | None = Field(default=None, gt=0, description="Most that one customer gets back")
    cashback_delay_days: int = Field(default=0, ge=0, description="Until it is paid")
    annual_discount_rate: float = Field(default=0.0, ge=0, description="What money paid a year later is worth less")
    points_per_amount: float = Field(default=0.0, ge=0, description="Points per unit of currency spent")
    point_value_amount: float = Field(default=0.0, ge=0, description="Cost of one point that is used")
    breakage_rate: Share = Field(default=0.0, description="Share of cashback or points never claimed")
    flash_hours: tuple[Hour, Hour] | None = Field(default=None, description="First and last hour of day, both counted")
    flash_shift_rate: Share = Field(default=0.0, description="Share of baskets of other hours that move into them")
    vendor_share_rate: Share = Field(default=0.0, description="Share of the discount that the vendor or partner bears")
    channel: str
    contact_cost_amount: float = Field(default=0.0, ge=0, description="Per customer told")
    fixed_cost_amount: float = Field(default=0.0, ge=0, description="Per segment and category")

    @property
    def is_store_wide(self) -> bool:
        """Everybody in a store meets it, so that only stores can be kept back from it, never customers."""
        return self.display_rate > 0 or self.mailer_rate > 0

    @property
    def is_priced_by_baskets(self) -> bool:
        """Its cost is not simply its depth: it depends on the baskets that customers fill, or on who takes part."""
        shared = self.participation_rate < 1 or self.vendor_share_rate > 0 or self.flash_hours is not None
        return self.mechanic in _PRICED_BY_BASKETS or shared

    @property
    def is_like_discount(self) -> bool:
        """Customers pay less at once, as in weeks with a discount: so its effect can be seen in such weeks."""
        return self.mechanic not in _UNLIKE_DISCOUNTS

    @model_validator(mode="after")
    def _is_whole(self) -> Offer:
        missing = [name for name in _NEEDS.get(self.mechanic, ()) if not getattr(self, name)]
        faults = [f"a {self.mechanic} needs {' and '.join(missing)}"] if missing else []
        faults += [
            f"{name} is for {' or '.join(mechanics)}, not for {self.mechanic}"
            for name, mechanics in _ONLY_FOR.items()
            if self.mechanic not in mechanics and getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.mechanic in _WITHOUT_DEPTH and self.depth_rate > 0:
            faults.append(f"the cost of a {self.mechanic} is not a depth_rate: leave it out")
        moves = self.depth_rate > 0 or self.is_store_wide or self.mechanic in _WITHOUT_DEPTH
        if not moves:
            faults.append("it changes nothing: give a depth, display or mailer rate")
        if faults:
            raise ValueError(f"offer {self.offer_id}: {'; '.join(faults)}")
        return self


class Promotions(Frozen):
    """``conf/promotions.yaml``: the offers the plan may choose from."""

    offers: tuple[Offer, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Promotions:
        names = [offer.offer_id for offer in self.offers]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"offer_id is used twice: {', '.join(doubled)}")
        return self
