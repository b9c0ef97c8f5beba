"""What is published of one product in one store: in one query, for programs ask for it more than for anything else."""

import datetime as dt
from typing import Any, NamedTuple

from django.db import connection

from mlops.models import ModelVersion, RoutingRule
from shelfops.models import MODEL_NAME_DEFAULT, Customer, User

# The ORM would take longer to write this than the database takes to answer it. The days stand one by one because the
# index begins with the day; the last row of a day counts.
SQL = """
SELECT f.date, f.origin, f.prediction, f.lower, f.upper, f.is_served, f.rule_id,
    r.segment, r.valid_from, r.reason, v.version, u.email
FROM (
    SELECT date, origin, prediction, lower, upper, rule_id, 0 AS is_served FROM forecasts
    WHERE store_id = (SELECT id FROM stores WHERE customer_id = %(customer)s AND code = %(store)s)
        AND product_id = (SELECT id FROM products WHERE customer_id = %(customer)s AND code = %(product)s)
        AND run_id = (SELECT id FROM forecast_runs
            WHERE customer_id = %(customer)s AND model_name = %(model)s AND status = 'published')
        AND date BETWEEN %(first)s AND %(last)s
    UNION ALL
    SELECT date, origin, prediction, lower, upper, rule_id, 1 FROM forecasts
    WHERE store_id = (SELECT id FROM stores WHERE customer_id = %(customer)s AND code = %(store)s)
        AND product_id = (SELECT id FROM products WHERE customer_id = %(customer)s AND code = %(product)s)
        AND lead = 1 AND date IN ({days})
        AND EXISTS (SELECT 1 FROM forecast_runs run
            WHERE run.id = run_id AND run.model_name = %(model)s AND run.status <> 'writing')
) f
JOIN routing_rules r ON r.id = f.rule_id
JOIN model_versions v ON v.id = r.version_id
LEFT JOIN shelfops_user u ON u.id = r.by_id
ORDER BY f.date, f.is_served
"""
DAY = dt.timedelta(days=1)


class Published(NamedTuple):
    """Units of one day. `is_served`: one day ahead, so that it served; else as in the run that is valid now."""

    date: dt.date
    origin: dt.date
    prediction: float
    lower: float | None
    upper: float | None
    is_served: bool
    rule: RoutingRule


def published(customer: Customer, store_id: str, product_id: str, first: dt.date, last: dt.date) -> list[Published]:
    """One for each of these days of which something is published, in order; none for codes that are unknown.

    Its rule, version and person know what the sentences about them need, and nothing else.
    """
    days = [(first + n * DAY).isoformat() for n in range((last - first).days + 1)]
    asked = {f"day{n}": day for n, day in enumerate(days)}
    key = Customer._meta.pk.get_db_prep_value(customer.pk, connection)
    asked |= {"customer": key, "model": MODEL_NAME_DEFAULT, "store": store_id, "product": product_id}
    with connection.cursor() as cursor:
        cursor.execute(
            SQL.format(days=", ".join(f"%(day{n})s" for n in range(len(days)))),
            asked | {"first": days[0], "last": days[-1]},
        )
        rows = cursor.fetchall()
    rules: dict[int, RoutingRule] = {}
    for row in rows:
        if row[6] not in rules:
            rules[row[6]] = _rule(*row[6:])
    found = {}
    for day, origin, prediction, lower, upper, is_served, *rule in rows:
        found[day] = Published(_day(day), _day(origin), prediction, lower, upper, bool(is_served), rules[rule[0]])
    return list(found.values())


def _rule(key: int, segment: str, valid_from: Any, reason: str, version: str, email: str | None) -> RoutingRule:
    by = User(email=email) if email else None
    made = ModelVersion(version=version)
    return RoutingRule(pk=key, segment=segment, valid_from=_day(valid_from), reason=reason, version=made, by=by)


def _day(value: Any) -> dt.date:
    """SQLite keeps days as text."""
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
