"""The customer's stores and products, and the department that each product belongs to."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from forecasting.models import CategoryDepartment, Product, Store
from mlops.routing import Kind, Lifecycle, segment_key
from shelfops.models import Customer, User

BATCH = 2_000


def store_ids(customer: Customer) -> dict[str, int]:
    """The database id of each store of the customer by its own key."""
    return dict(Store.objects.filter(customer=customer).order_by().values_list("code", "id"))


def product_ids(customer: Customer) -> dict[str, int]:
    """The database id of each product of the customer by its own key."""
    return dict(Product.objects.filter(customer=customer).order_by().values_list("code", "id"))


def with_department(products: QuerySet[Product]) -> QuerySet[Any]:
    """Adds `effective_department`: the product's own, else what the customer's table gives to its category, else ''."""
    table = CategoryDepartment.objects.filter(customer=OuterRef("customer"), category=OuterRef("category"))
    from_table = Coalesce(Subquery(table.values("department")[:1]), Value(""))
    return products.annotate(
        effective_department=Case(When(department__gt="", then=F("department")), default=from_table)
    )


def departments(customer: Customer) -> dict[int, str]:
    """The department of every product of the customer by product id, '' where there is none."""
    products = with_department(Product.objects.filter(customer=customer).order_by())
    return dict(products.values_list("id", "effective_department"))


def department_of(product: Product) -> str:
    """The product's department, '' where there is none."""
    return with_department(Product.objects.filter(pk=product.pk)).values_list("effective_department", flat=True).get()


def products_of(customer: Customer, department: str) -> QuerySet[Any]:
    """The customer's products of a department."""
    return with_department(Product.objects.filter(customer=customer)).filter(effective_department=department)


def categories_without_department(customer: Customer) -> list[str]:
    """Categories for which neither the product nor the customer's table names a department."""
    lost = with_department(Product.objects.filter(customer=customer)).filter(effective_department="")
    return sorted(lost.exclude(category="").order_by().values_list("category", flat=True).distinct())


def segments_of(customer: Customer, kind: Kind) -> list[str]:
    """The keys of all segments of the kind that the customer's products and stores could make."""
    if kind is Kind.LIFECYCLE:
        return [segment_key(kind, value.value) for value in Lifecycle]
    if kind is Kind.DEPARTMENT:
        values = set(departments(customer).values())
    else:
        values = set(Store.objects.filter(customer=customer).order_by().values_list("cluster", flat=True))
    return [segment_key(kind, value) for value in sorted(values - {""})]


def add_stores(customer: Customer, codes: Iterable[str], *, reason: str) -> int:
    """Creates the stores that are not known yet and says how many they were."""
    known = store_ids(customer)
    new = [Store(customer=customer, code=code) for code in codes if code not in known]
    bulk_create_with_history(new, Store, batch_size=BATCH, default_change_reason=reason)
    return len(new)


@transaction.atomic
def set_clusters(customer: Customer, clusters: Mapping[str, str], *, by: User, reason: str) -> int:
    """Gives these stores these clusters, with who did it in their history; how many have changed."""
    stores = Store.objects.filter(customer=customer, code__in=clusters).order_by("pk").select_for_update(no_key=True)
    changed = [store for store in stores if store.cluster != clusters[store.code]]
    for store in changed:
        store.cluster = clusters[store.code]
    bulk_update_with_history(
        changed, Store, ["cluster"], batch_size=BATCH, default_user=by, default_change_reason=reason
    )
    return len(changed)


def put_products(customer: Customer, labels: Mapping[str, tuple[str, str]], *, reason: str) -> int:
    """Creates unknown products and gives the known ones the department and category named; '' changes nothing."""
    known = {product.code: product for product in Product.objects.filter(customer=customer).order_by()}
    new = [
        Product(customer=customer, code=code, department=department, category=category)
        for code, (department, category) in labels.items()
        if code not in known
    ]
    changed = [known[code] for code in labels if code in known and _relabel(known[code], *labels[code])]
    bulk_create_with_history(new, Product, batch_size=BATCH, default_change_reason=reason)
    bulk_update_with_history(
        changed, Product, ["department", "category"], batch_size=BATCH, default_change_reason=reason
    )
    return len(new)


def _relabel(product: Product, department: str, category: str) -> bool:
    before = product.department, product.category
    product.department = department or product.department
    product.category = category or product.category
    return before != (product.department, product.category)
