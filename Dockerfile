# Two images from one file:
#   docker build --target builder -t reconciler:builder .    converts and serves
#   docker build --target agent -t reconciler:agent .        serves, re-templates, repairs and prunes; no torch
# torch's CPU build saves gigabytes in the builder: --build-arg TORCH_OPTIONS=... as for make (see README).

FROM python:3.11-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

FROM base AS wheel
WORKDIR /src
COPY requirements/base.txt requirements/
RUN pip install --no-deps --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY examples ./examples
COPY manifests ./manifests
COPY schema ./schema
COPY reconciler ./reconciler
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM base AS agent-environment
RUN python -m venv /opt/reconciler
COPY requirements /requirements
RUN /opt/reconciler/bin/pip install --no-deps --require-hashes -r /requirements/foundry.txt
COPY --from=wheel /wheels /wheels
RUN /opt/reconciler/bin/pip install --no-deps /wheels/*.whl

# The packages have layers of their own that an edit of the code leaves alone. torch comes last and alone.
FROM base AS builder-environment
ARG TORCH_OPTIONS=""
RUN python -m venv /opt/reconciler
COPY requirements /requirements
RUN /opt/reconciler/bin/pip install --no-deps --require-hashes -r /requirements/all.txt
# hadolint ignore=SC2086
RUN /opt/reconciler/bin/pip install ${TORCH_OPTIONS} -r /requirements/torch.txt
COPY --from=wheel /wheels /wheels
RUN /opt/reconciler/bin/pip install --no-deps /wheels/*.whl

# git reads manifests out of a mirror; libatomic1 is what Foundry Local's library needs and slim lacks.
FROM base AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends git=1:2.39.* libatomic1=12.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/reconciler --create-home --shell /usr/sbin/nologin reconciler
ENV PATH=/opt/reconciler/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RECONCILER_ROOT=/var/lib/reconciler/root \
    RECONCILER_CACHE=/var/lib/reconciler/foundry \
    RECONCILER_PATH=/manifests
LABEL org.opencontainers.image.title="reconciler" \
      org.opencontainers.image.description="GitOps for local AI models: what git declares is what Foundry Local serves" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
USER 10001
WORKDIR /var/lib/reconciler
VOLUME /var/lib/reconciler
# The daemon answers on loopback while its loop lives (docs/metrics.md). Another verb as the command wants
# --no-healthcheck.
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9464, timeout=5); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["reconciler"]
CMD ["run"]

FROM runtime AS builder
COPY --from=builder-environment /opt/reconciler /opt/reconciler

FROM runtime AS agent
COPY --from=agent-environment /opt/reconciler /opt/reconciler
