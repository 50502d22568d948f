# The whole service on the phantom; give `serve --source ...` for another source.
FROM python:3.13-slim AS build
WORKDIR /app
COPY requirements/run.txt requirements/
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
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthy', timeout=2)"]
# Inside a container the loopback address cannot be reached from outside: publish the port to the host's own
# loopback, as in `docker run -p 127.0.0.1:8000:8000 fluoroguide`. The dashboard asks for no password yet, and from in here
# the host is another machine, so that its pages may only acknowledge alerts with --remote-orders. The alarm log lies in
# /home/fluoroguide/.local/state: mount a volume there to keep it.
ENTRYPOINT ["fluoroguide"]
CMD ["demo", "--host", "0.0.0.0", "--remote-orders"]
