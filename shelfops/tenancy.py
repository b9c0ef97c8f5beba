"""Who may see and do what: every question is asked of (user, customer)."""

from enum import StrEnum
from typing import TypeVar

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet

from shelfops.models import Customer, Membership, Role, User

Person = User | AnonymousUser
M = TypeVar("M", bound=Model)


class Action(StrEnum):
    """What a role can be allowed; the value completes the sentence “You may not …”."""

    READ = "read this customer's data"
    MARK_READ = "mark alerts as read"
    PROPOSE_EXPERIMENT = "propose, start or cancel experiments"
    RETRAIN = "start a retrain"
    REGISTER_SOURCE = "register data sources"
    LOAD_DATA = "load sales and plans, or edit stores, products and feed days"
    DISMISS_ALERT = "dismiss alerts"
    REVIEW_DRIFT = "review challengers that drift produced"
    COMPLETE_EXPERIMENT = "complete experiments"
    DECIDE_PROPOSAL = "approve or reject proposals"
    REVIEW_PROMOTION = "review promotions"
    ROLL_BACK = "roll a model back"
    APPROVE_SOURCE = "approve data sources"
    MANAGE = "change policy, timetable or members"


_READER = frozenset({Action.READ, Action.MARK_READ})
_SCIENTIST = _READER | {
    Action.PROPOSE_EXPERIMENT,
    Action.RETRAIN,
    Action.REGISTER_SOURCE,
    Action.LOAD_DATA,
    Action.DISMISS_ALERT,
    Action.REVIEW_DRIFT,
    Action.COMPLETE_EXPERIMENT,
}
MATRIX: dict[Role, frozenset[Action]] = {
    Role.RETAIL_OPS: _READER,
    Role.DATA_SCIENTIST: _SCIENTIST,
    Role.ML_MANAGER: frozenset(Action),
}


class NotAllowed(PermissionDenied):
    """The person's role at the customer does not include the action."""


def role_of(user: Person, customer: Customer) -> Role | None:
    """The person's role at the customer, None for a stranger."""
    if not user.is_authenticated:
        return None
    role = Membership.objects.filter(user=user, customer=customer).values_list("role", flat=True).first()
    return Role(role) if role else None


def has_a_role(user: Person) -> bool:
    """Whether the person may log in: active, and a member somewhere or a superuser."""
    if not user.is_active or not user.is_authenticated:
        return False
    return user.is_superuser or Membership.objects.filter(user=user).exists()


def allowed(user: Person, customer: Customer, action: Action) -> bool:
    """Whether the person may do this at the customer. A superuser runs the installation and may do everything."""
    return action in rights_of(user, customer)


def rights_of(user: Person, customer: Customer) -> frozenset[Action]:
    """All that the person may do at the customer."""
    if not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(Action)
    role = role_of(user, customer)
    return MATRIX[role] if role else frozenset()


def require(user: Person, customer: Customer, action: Action) -> None:
    """Raises NotAllowed, in words a person can act on, where `allowed` says no."""
    if not allowed(user, customer, action):
        raise NotAllowed(f"You may not {action} at {customer}. Who may: {able(action)}.")


def able(action: Action) -> str:
    """The roles that may, such as: Data scientist, ML manager."""
    return ", ".join(role.label for role, actions in MATRIX.items() if action in actions)


def customers_of(user: Person, action: Action = Action.READ) -> QuerySet[Customer]:
    """The customers at which the person may do this."""
    if not user.is_active:
        return Customer.objects.none()
    if user.is_superuser:
        return Customer.objects.all()
    roles = [role for role, actions in MATRIX.items() if action in actions]
    if len(roles) == len(Role):
        return Customer.objects.filter(memberships__user=user)
    return Customer.objects.filter(memberships__user=user, memberships__role__in=roles)


def scope(queryset: QuerySet[M], user: Person, path: str = "customer", action: Action = Action.READ) -> QuerySet[M]:
    """The rows of the person's customers; `path` leads from the row to its customer."""
    if user.is_active and user.is_superuser:
        return queryset
    return queryset.filter(**{f"{path}__in": customers_of(user, action)})
