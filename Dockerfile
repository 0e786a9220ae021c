# Two stages: what builds stays behind, what runs is a virtual environment and an unprivileged user.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/tautline
ENV PATH=/opt/tautline/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/runtime.txt requirements/
RUN pip install --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY proto proto
COPY relay relay
COPY admin admin
COPY tautline tautline
COPY benchmarks benchmarks
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --no-create-home --uid 10001 tautline && install -d -o tautline /var/lib/tautline
COPY --from=build /opt/tautline /opt/tautline
ENV PATH=/opt/tautline/bin:$PATH PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=5050 DATA_DIR=/var/lib/tautline
USER tautline
WORKDIR /tmp
EXPOSE 5050
VOLUME /var/lib/tautline
# Python, because a slim image has no curl.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health\", timeout=2)"]
# SIGTERM drains: no new calls, those in progress may end; allow it 30 s (docker stop --time 30).
STOPSIGNAL SIGTERM
CMD ["tautline", "serve"]
