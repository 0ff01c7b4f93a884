# The server with its embedded voice:
#   docker build -t loquor . && docker run --rm -p 127.0.0.1:8000:8000 loquor --slots 8
# What follows the image's name are options of `loquor serve`.

FROM python:3.11-slim AS build
ARG TORCH=torch==2.13.0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/loquor/bin:$PATH
RUN python -m venv /opt/loquor
# The CPU build: the one on PyPI brings gigabytes of CUDA.
RUN pip install --index-url https://download.pytorch.org/whl/cpu "$TORCH"
WORKDIR /build
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip install ".[serve,wyoming]"

FROM python:3.11-slim
COPY --from=build /opt/loquor /opt/loquor
# Uploaded voices and downloaded models lie in /data, which is all it writes.
RUN useradd --uid 10001 --no-create-home loquor && install -d -o loquor /data
ENV PATH=/opt/loquor/bin:$PATH HOME=/data HF_HOME=/data/hub PYTHONUNBUFFERED=1
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["loquor", "serve", "--host", "0.0.0.0", "--port", "8000", "--voices", "/data/voices"]
