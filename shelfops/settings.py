"""The one settings file: embedded by default, everything else by environment variables that fail loudly."""

import os
import secrets
import warnings
from pathlib import Path

import environ
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from shelfops.durable import write_once

# Read when the OpenMP library is loaded: threads that wait must sleep, or two processes on a core crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DATA_DIR = Path(env.str("SHELFOPS_DATA_DIR", default="") or BASE_DIR / "var").expanduser().resolve()
ARTEFACT_DIR = DATA_DIR / "artefacts"
REJECTS_DIR = DATA_DIR / "rejects"


def _data_dir_or_explain() -> None:
    try:
        (DATA_DIR / "static").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {DATA_DIR} cannot be created ({error.strerror}). "
            "Point SHELFOPS_DATA_DIR at a folder that this user may write."
        ) from error


def _secret_key() -> str:
    """From the environment, else made once and kept beside the data, readable by its owner alone."""
    if key := env.str("SHELFOPS_SECRET_KEY", default=""):
        return key
    path = DATA_DIR / "secret_key"
    try:
        if not path.exists():
            write_once(path, secrets.token_urlsafe(64))
        key = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{path} cannot be made or read ({error.strerror}). Set SHELFOPS_SECRET_KEY or give this user that file."
        ) from error
    if not key:
        raise ImproperlyConfigured(
            f"{path} is empty. Delete it to have a new key made (everybody logs in again), or set SHELFOPS_SECRET_KEY."
        )
    return key


_data_dir_or_explain()
SECRET_KEY = _secret_key()
DEBUG = env.bool("SHELFOPS_DEBUG", default=False)
ALLOWED_HOSTS = env.list("SHELFOPS_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("SHELFOPS_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "shelfops",
    "alerts",
    "mlops",
    "forecasting",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "unfold.contrib.simple_history",
    "shelfops.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_celery_beat",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "import_export",
    "rest_framework",
    "simple_history",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "shelfops.urls"
WSGI_APPLICATION = "shelfops.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "alerts.context_processors.open_alerts",
            ]
        },
    }
]

# --- Database: SQLite under the data folder, or whatever DATABASE_URL names -------------------------------------

_embedded = f"sqlite:///{DATA_DIR / 'db.sqlite3'}"
with warnings.catch_warnings(action="ignore"):  # an unknown database is refused below, in one line
    _database = env.db_url_config(env.str("DATABASE_URL", default="") or _embedded)
DATABASES = {"default": _database}
if _database.get("ENGINE", "").endswith("sqlite3"):
    # WAL alone turns read-then-write transactions into "database is locked"; IMMEDIATE makes them wait instead.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; "
            "PRAGMA mmap_size=134217728; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-32768;"
        ),
    }
elif _database.get("ENGINE", "").endswith("postgresql"):
    _database["CONN_HEALTH_CHECKS"] = True
    _database.setdefault("CONN_MAX_AGE", 60)
else:
    raise ImproperlyConfigured("DATABASE_URL must be sqlite:///… or postgres://…: ShelfOps is tested on these two.")

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Celery: files under the data folder, or the broker that CELERY_BROKER_URL names ----------------------------

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or "localfs://localhost"
CELERY_TASK_IGNORE_RESULT = True  # the rows that tasks write are the result
CELERY_TASK_DEFAULT_QUEUE = "shelfops"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
# Beat copies these into its tables; a sweep that comes late is not needed, for the next one is on its way.
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "shelfops.tasks.sweep", "schedule": 60.0, "options": {"expire_seconds": 50}},
    "notify": {"task": "alerts.tasks.sweep", "schedule": 60.0, "options": {"expire_seconds": 50}},
    "pages": {"task": "shelfops.tasks.prepare_pages", "schedule": 600.0, "options": {"expire_seconds": 500}},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
if CELERY_BROKER_URL.startswith("localfs"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(DATA_DIR / "celery" / "queue"),
        "data_folder_out": str(DATA_DIR / "celery" / "queue"),
        "control_folder": str(DATA_DIR / "celery" / "control"),
        "processed_folder": str(DATA_DIR / "celery" / "processed"),
        "polling_interval": 0.1,
    }
else:
    # Redis hands a message out again after this time: longer than the longest training.
    # A page that asks for a run must not hang while the broker is down: the sweeper sends the run later.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 6 * 3600,
        "max_retries": 1,
        "interval_start": 0,
        "socket_connect_timeout": 5,
    }

# --- Jobs ---------------------------------------------------------------------------------------------------------

JOB_LEASE_SECONDS = env.float("SHELFOPS_JOB_LEASE_SECONDS", default=60.0)  # a run silent for so long is dead
JOB_WAIT_SECONDS = 150.0  # longer than a lease: the next run waits a dead one out
JOB_RESEND_SECONDS = 600.0  # a queued run that no worker has begun by then is sent again

# --- Notifications: only where a manager has added a channel ----------------------------------------------------------

SITE_URL = env.str("SHELFOPS_SITE_URL", default="").rstrip("/")  # makes the links in messages absolute
NOTIFICATIONS = env.bool("SHELFOPS_NOTIFICATIONS", default=True)  # off on a copy of a database in use
# Off: a channel must not make this server talk to machines that only it can reach.
NOTIFY_PRIVATE_HOSTS = env.bool("SHELFOPS_NOTIFY_PRIVATE_HOSTS", default=False)

# --- People ------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "shelfops.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
LOGOUT_REDIRECT_URL = LOGIN_URL
AXES_USERNAME_FORM_FIELD = "username"  # axes would look for the field named like the column, and never lock
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours; 429.html says so
AXES_LOCKOUT_TEMPLATE = "429.html"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "shelfops.sites.name_of_attempt"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

# --- Safety ------------------------------------------------------------------------------------------------------

BEHIND_HTTPS = env.bool("SHELFOPS_HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = BEHIND_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_HTTPS
if BEHIND_HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        # The admin theme's Alpine evaluates expressions; own pages and the API narrow this to 'self'.
        "script-src": [SELF, UNSAFE_EVAL, UNSAFE_INLINE],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# --- API -----------------------------------------------------------------------------------------------------------

API_CALLS_PER_MINUTE = env.int("SHELFOPS_API_CALLS_PER_MINUTE", default=600)  # by one person
API_ANONYMOUS_CALLS_PER_MINUTE = 120  # from one address
API_FAILURES_PER_MINUTE = 20  # bad tokens from one address
# Where calls are counted: in each process, or for all of them in rediscache://host/2
CACHES = {"default": env.cache_url("SHELFOPS_CACHE_URL", default="locmemcache://")}
CACHES["default"].setdefault("OPTIONS", {})
if CACHES["default"]["BACKEND"].endswith("LocMemCache"):
    CACHES["default"]["OPTIONS"]["MAX_ENTRIES"] = 10_000

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "shelfops.rest.authentication.TokenAuthentication",  # first: its header makes a missing login a 401
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["shelfops.rest.throttling.PerMinute"],
    "DEFAULT_PARSER_CLASSES": ["shelfops.rest.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "shelfops.rest.schema.AutoSchema",
    "EXCEPTION_HANDLER": "shelfops.api_errors.handle",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "NUM_PROXIES": 1 if BEHIND_HTTPS else 0,  # of X-Forwarded-For only what our own proxy wrote is believed
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ShelfOps",
    "VERSION": "1",
    "DESCRIPTION": "Demand forecasts, and the life of the models that make them.",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "PREPROCESSING_HOOKS": ["shelfops.rest.schema.only_api"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "shelfops.rest.schema.with_errors",
    ],
    "ENUM_NAME_OVERRIDES": {
        "VersionStatus": "mlops.models.ModelVersion.Status",
        "RetrainingStatus": "mlops.models.ModelRetrainingLog.Status",
        "Trigger": "mlops.models.ModelRetrainingLog.Trigger",
        "ShadowStatus": "mlops.models.ShadowTest.Status",
        "ShadowVerdict": "mlops.models.ShadowTest.Verdict",
        "ExperimentStatus": "mlops.models.ModelExperiment.Status",
        "ExperimentDecision": "mlops.models.ModelExperiment.Decision",
        "IncidentStatus": "mlops.models.DriftIncident.Status",
        "IncidentVerdict": "mlops.models.DriftIncident.Verdict",
        "DriftVerdict": "mlops.models.DriftCheck.Verdict",
        "ReviewAction": "mlops.models.ModelReview.Action",
        "AlertAction": "alerts.api.ACTIONS",
        "AlertStatus": "alerts.models.MLAlert.Status",
        "RunStatus": "shelfops.models.JobRun.Status",
        "Health": "shelfops.health.STATES",
    },
    "SWAGGER_UI_DIST": "SIDECAR",  # nothing is fetched from another host
    "SWAGGER_UI_FAVICON_HREF": None,
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None, "displayRequestDuration": True},
}

# --- The rest ----------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = ["shelfops.formats"]
USE_TZ = True
TIME_ZONE = "UTC"  # stored in UTC, shown in the customer's zone

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = True  # no collectstatic needed on one machine

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("SHELFOPS_LOG_LEVEL", default="WARNING")},
}

UNFOLD = {
    "SITE_TITLE": "ShelfOps",
    "SITE_HEADER": "ShelfOps",
    "SITE_SUBHEADER": "demand forecasting",
    "SITE_SYMBOL": "inventory_2",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("shelfops/favicon.svg")},
    ],
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "shelfops.dashboard.fill",
    "STYLES": [lambda _request: static("shelfops/theme.css")],
    "SCRIPTS": [lambda _request: static("shelfops/alerts.js")],
    "SIDEBAR": {"navigation": "shelfops.navigation.sidebar"},
}
