"""What the audit compares between groups."""

MEASURES = {
    "planned_rate": "Share of customers whom the plan gives a promotion (demographic parity)",
    "planned_depth": "Mean depth of the promotions that the plan gives",
    "expected_benefit": "Discount that the plan is expected to bring, per customer",
    "opportunity_likely": "Share given a promotion among those likely to redeem, each counted by its probability "
    "(equal opportunity)",
    "opportunity_proven": "Share given a promotion among those who redeemed any before (equal opportunity)",
    "contacted_rate": "Share of customers who were given or shown a promotion in the days before",
    "contacts": "Contacts per customer in the days before",
    "realised_benefit": "Discounts received in the days before, per customer",
    "realised_depth": "Discounts received over the regular price of what was bought",
}
ADJUSTED = {
    "adjusted_benefit": "Expected discount of the plan, among customers of equal spend and probability of redemption",
    "adjusted_depth": "Discounts received over the regular price, among customers of equal spend and probability of "
    "redemption (price discrimination)",
}
MEANINGS = MEASURES | ADJUSTED
