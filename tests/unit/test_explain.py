"""How a decision is worded."""

from promo_spark.pipelines.explain import word_decision


def test_a_decision_reads_from_what_was_given_to_what_was_known() -> None:
    text = word_decision(
        {
            "customer_id": "abc",
            "as_of_date": "2017-06-05",
            "assigned": [{"slot": 1, "arm": "p", "propensity": 0.88, "reason": "worth_it"}],
            "reasons": ["chosen for the most value under the limits"],
            "would_change": "q worth 1.00 EUR more",
            "offer_values": {"p": 3.0, "q": 2.0, "r": None},
            "offer_costs": {"p": 1.0, "q": 1.0, "r": 0.5},
            "net_values": {"q": 1.5, "p": 2.5, "r": None},
            "inputs": {"recency": 1.0, "visits": 4.0},
            "contributions": {"visits": -0.4, "recency": 0.1},
        },
        "EUR",
    )
    lines = text.splitlines()
    assert lines[2] == "slot 1: p (probability of this 0.880, worth_it)"
    assert "  - it would have been otherwise with q worth 1.00 EUR more" in lines
    offers = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in ("p", "q", "r")]
    assert offers == ["p", "q", "r"]
    assert lines[-2].split() == ["visits", "4.000", "-0.40"]


def test_what_was_not_logged_is_left_out() -> None:
    nothing = {"offer_values": None, "inputs": None, "net_values": None, "contributions": None, "assigned": []}
    told = {"customer_id": "abc", "as_of_date": "d", "reasons": ["kept back"], "would_change": "another draw"}
    assert word_decision({**told, **nothing}, "EUR").endswith("another draw")
