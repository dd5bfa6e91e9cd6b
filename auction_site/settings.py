"""Every setting, read strictly from the environment. The defaults run on one machine without any server.

docs/configuration.md lists the variables. Nothing here guesses: a value that makes no sense stops the start.
"""

import sys
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

VAR_DIR = Path(env.str("VAR_DIR", str(BASE_DIR / "var")))  # everything the site writes: database, broker, runs
VAR_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", False)
DEMO = env.bool("DEMO", False)  # play money, known passwords; `make demo` sets it
TESTING = "pytest" in sys.modules

SECRET_KEY = env.str("SECRET_KEY", "demo-only-key-" + "0" * 40 if DEMO or DEBUG or TESTING else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY to a long random text (or DEMO=1 to try the site with play money).")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])  # keeps links alive when the key is rotated
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", 0)  # hops of X-Forwarded-For that are ours
HTTPS = env.bool("HTTPS", False)  # served over TLS: secure cookies, HSTS, redirects

# The Ad-LLM: any OpenAI-compatible endpoint.
LAB_MODEL_DIR = Path(env.str("LAB_MODEL_DIR", str(BASE_DIR / "training" / "lab" / "weights")))
LAB_IRPO_MODEL_DIR = Path(env.str("LAB_IRPO_MODEL_DIR", str(BASE_DIR / "training" / "lab" / "weights-irpo")))
AD_LLM_BASE_URL = env.str("AD_LLM_BASE_URL", "http://127.0.0.1:8001/v1")
AD_LLM_MODEL = env.str("AD_LLM_MODEL", str(LAB_MODEL_DIR))
AD_LLM_API_KEY = env.str("AD_LLM_API_KEY", "not-needed")
AD_LLM_GUIDED_MARKERS = env.bool("AD_LLM_GUIDED_MARKERS", True)  # keep the model to markers of its own candidates
AD_LLM_CONCURRENCY = env.int("AD_LLM_CONCURRENCY", 16)  # generations at a time; further questions are told to wait
MAX_CANDIDATES = env.int("MAX_CANDIDATES", 100)  # ads in one prompt (the paper's number)
MAX_ADS_PER_ANSWER = env.int("MAX_ADS_PER_ANSWER", 5)
LINK_LIFETIME_HOURS = env.int("LINK_LIFETIME_HOURS", 24)
QUESTIONS_PER_MINUTE = env.int("QUESTIONS_PER_MINUTE", 20)  # of one visitor on the chat page
QUESTIONS_PER_DAY = env.int("QUESTIONS_PER_DAY", 500)  # of one visitor; three times as many from one address
ANSWERS_PER_DAY = env.int("ANSWERS_PER_DAY", 20_000)  # of the whole site: what a day may cost at most

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "rest_framework",
    "campaigns",
    "chat",
    "training",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "auction_site.urls"
ASGI_APPLICATION = "auction_site.asgi.application"
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
                "auction_site.context.site",
            ],
        },
    }
]

# Database: SQLite beside the site, or PostgreSQL by DATABASE_URL.
DATABASES = {"default": env.db("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}
_db = DATABASES["default"]
if _db["ENGINE"].endswith("sqlite3"):
    _db["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a write transaction waits for its turn instead of failing half-way
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"  # a committed charge survives a power cut
        "PRAGMA recursive_triggers=ON;",  # INSERT OR REPLACE is a DELETE too, and the ledger refuses those
    }
elif _db["ENGINE"].endswith("postgresql"):
    _db["CONN_MAX_AGE"] = 0
    _db["OPTIONS"] = {
        "pool": {"min_size": 2, "max_size": env.int("DB_POOL_SIZE", 16), "timeout": 2},
        "options": "-c statement_timeout=15000 -c lock_timeout=5000",
    }
else:
    raise ImproperlyConfigured("DATABASE_URL must be sqlite:///... or postgres://...: the ledger is proved on both.")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Cache: Redis when there is one, else the database (shared by all processes).
REDIS_URL = env.str("REDIS_URL", "")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "site_cache"}
}

# Celery: a broker without a server by default.
CELERY_BROKER_URL = env.str("BROKER_URL", REDIS_URL or "filesystem://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_ROUTES = {"training.tasks.run_stage": {"queue": "training"}}  # hours of computing: a worker of their own
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
if CELERY_BROKER_URL == "filesystem://":
    _broker = VAR_DIR / "broker"
    for _folder in ("queue", "control", "processed"):
        (_broker / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "queue"),
        "data_folder_out": str(_broker / "queue"),
        "control_folder": str(_broker / "control"),
        "processed_folder": str(_broker / "processed"),
        "store_processed": True,
    }

# People
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_ADAPTER = "auction_site.accounts.ClosedSignup"  # people are invited by an admin
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
EMAIL_BACKEND = env.str("EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "knox.auth.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PARSER_CLASSES": ["auction_site.rest.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "auction_site.rest.Pages",
    "EXCEPTION_HANDLER": "auction_site.rest.explain",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_RATES": {"turns": env.str("TURNS_THROTTLE", "30/min"), "login": "20/min"},
    "NUM_PROXIES": TRUSTED_PROXY_COUNT,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "LLM-Auction API",
    "DESCRIPTION": "Ask the Ad-LLM, read ads, bids and reports. Money is in micros: millionths of the currency unit.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "AdvertiserStatus": "campaigns.models.Advertiser.Status",
        "AdStatus": "campaigns.models.Ad.Status",
        "TurnStatus": "chat.models.Turn.Status",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Browser
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", str(VAR_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or TESTING
        else "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"  # compressing takes half a minute
        if DEMO
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG or TESTING
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # asked from inside, without TLS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
CURRENCY = env.str("CURRENCY", "EUR")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        "httpx2": {"level": "WARNING"},  # it would log every request to the model server
        "kombu.connection": {"level": "ERROR"},  # it would warn that files have no host name
    },
}
