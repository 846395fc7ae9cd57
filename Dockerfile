# Two stages: the first resolves exactly the lock file, the second carries only what runs.
FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/tusplyr && /opt/tusplyr/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY src ./src
COPY migrations ./migrations
RUN /opt/tusplyr/bin/pip install --no-cache-dir --no-deps . && /opt/tusplyr/bin/python -m compileall -q /opt/tusplyr

FROM python:3.12-slim
RUN useradd --system --create-home --home-dir /data tusplyr
COPY --from=build /opt/tusplyr /opt/tusplyr
USER tusplyr
ENV PATH=/opt/tusplyr/bin:$PATH PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 TUSPLYR_HOST=0.0.0.0 TUSPLYR_DATA_DIR=/data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Beyond loopback the server wants TUSPLYR_AUTH_TOKEN (or TUSPLYR_AUTH_TOKEN_FILE); without one it says so and stops.
CMD ["tusplyr", "serve"]
