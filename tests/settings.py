"""The site's settings as the tests want them: everything written goes to a directory that vanishes, and nothing waits.

DATABASE_URL still chooses the database: SQLite in a file (so that threads meet as they do in life) or PostgreSQL.
"""

import atexit
import os
import shutil
import tempfile

_scratch = tempfile.mkdtemp(prefix="llm-auction-tests-")
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ["VAR_DIR"] = _scratch
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the net
os.environ["SECRET_KEY"] = "tests-only-" + "0" * 40
for _name in ("DEBUG", "DEMO", "HTTPS", "REDIS_URL", "BROKER_URL", "AD_LLM_BASE_URL", "AD_LLM_MODEL"):
    os.environ.pop(_name, None)  # a developer's own .env must not change what the tests see

from auction_site.settings import *  # noqa: E402, F403
from auction_site.settings import DATABASES, VAR_DIR  # noqa: E402

_on_sqlite = DATABASES["default"]["ENGINE"].endswith("sqlite3")
DATABASES["default"]["TEST"] = {
    "NAME": str(VAR_DIR / "test.sqlite3") if _on_sqlite else f"test_llm_auction_{os.getpid()}",  # two runs may meet
}
if _on_sqlite:
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"  # no test cuts the power
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
(VAR_DIR / "static").mkdir(exist_ok=True)  # WhiteNoise warns of a missing one
