"""The public holidays that a customer's country lists."""

import datetime as dt

import holidays


def listed(country: str, first: dt.date, last: dt.date) -> dict[dt.date, str]:
    """The holidays from `first` to `last` with their names, in order; none where the country has no known calendar."""
    if not country:
        return {}
    try:
        names = holidays.country_holidays(country.upper(), years=range(first.year, last.year + 1))
    except NotImplementedError:  # no calendar of this country: its days are all alike
        return {}
    return {day: name for day, name in sorted(names.items()) if first <= day <= last}
