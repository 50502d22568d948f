# The whole service on the phantom; give `serve --source ...` for another source.
FROM python:3.13-slim AS build
WORKDIR /app
COPY requirements/run.txt requirements/
# For crcmod, which is slow unless its C part is compiled.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY drivers drivers
COPY guidance guidance
COPY web web
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . && /venv/bin/pip install --no-cache-dir --no-deps /wheels/*.whl
# Compile the kernels now: a container that compiles at its start is late in the room. They fit the CPU of the machine
# that builds; on another kind numba compiles once more at the first start.
ENV NUMBA_CACHE_DIR=/kernels
RUN /venv/bin/python -c "import guidance.vision.pipeline"

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 fluoroguide
COPY --from=build /venv /venv
COPY --from=build --chown=fluoroguide /kernels /kernels
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/kernels
USER fluoroguide
WORKDIR /home/fluoroguide
EXPOSE 8000
# With --tls-cert: -e HEALTHY=https://127.0.0.1:8000/healthy
ENV HEALTHY=http://127.0.0.1:8000/healthy
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, ssl, urllib.request as r; r.urlopen(os.environ['HEALTHY'], timeout=2, context=ssl._create_unverified_context())"]
# As it is, nobody logs in, so that it is reached on its own machine alone: `docker run --network host fluoroguide`.
# For others give it accounts, and TLS or something in front of it that speaks it (docs/access.md). The alarm log lies in
# /home/fluoroguide/.local/state: mount a volume there to keep it.
ENTRYPOINT ["fluoroguide"]
CMD ["demo"]
