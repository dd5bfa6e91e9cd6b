# The site: web, worker and beat are this image with different commands. With EXTRAS=lab it also serves the built-in model.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VAR_DIR=/data HF_HUB_OFFLINE=1
WORKDIR /app

ARG EXTRAS=""
ARG PIP_ARGS=""
COPY pyproject.toml constraints.txt ./
COPY tools/requirements.py tools/
RUN python tools/requirements.py $EXTRAS > requirements.txt \
    && pip install --no-cache-dir -r requirements.txt -c constraints.txt $PIP_ARGS

COPY . .
# The static files' hashes belong to the image; the key is only there to start Django and is not kept.
RUN useradd --create-home --uid 10001 site && mkdir /data && chown site /data \
    && VAR_DIR=/app/build SECRET_KEY=only-while-building python manage.py collectstatic --no-input --verbosity 0
ENV STATIC_ROOT=/app/build/static

USER site
EXPOSE 8000
CMD ["uvicorn", "auction_site.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "30", "--no-access-log"]
