# The image of any CPU role: docker build --build-arg ROLE=renderer .
# ROLE is planner, renderer, mixer, analyzer, gateway, conductor, or all (one process with every role, the default).
# With recorded voices for the sketch band: --build-arg VOICES=fluid-soundfont-gm, a package of Debian (MIT).
# The renderer with the MusicGen engine has its own file: services/renderer/Dockerfile.cuda.
ARG ROLE=all

FROM python:3.12-slim AS build
ARG ROLE
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY gen gen
COPY libs libs
COPY services services
COPY gateway gateway
COPY daemon daemon
COPY clients/python clients/python
ENV UV_PROJECT_ENVIRONMENT=/opt/segue UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN uv sync --frozen --no-dev --no-editable --extra "$ROLE" --extra jwt
ARG VOICES=
RUN mkdir -p /opt/voices && if [ -n "$VOICES" ]; then apt-get update && apt-get install -y --no-install-recommends "$VOICES" && \
    font=$(dpkg -L "$VOICES" | grep -E '\.sf[23]$' | head -n 1) && \
    /opt/segue/bin/segued voices build "$font" --license MIT --voices-path /opt/voices; fi

FROM python:3.12-slim
ARG ROLE
COPY --from=build /opt/segue /opt/segue
COPY --from=build /opt/voices /opt/voices
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/segue segue
USER 10001
ENV PATH=/opt/segue/bin:$PATH SEGUE_HOME=/var/lib/segue SEGUE_LOG_FORMAT=json SEGUE_SERVER_ROLE=$ROLE
# The pack of the build, if it made one.
ENV SEGUE_VOICES_PATH=/opt/voices SEGUE_RENDERER_SKETCH_VOICES=auto
ENV SEGUE_CONDUCTOR_LISTEN=127.0.0.1:7305
EXPOSE 7300-7305
# Without an address, `segued health` checks this process's own role.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["segued", "health"]
CMD ["segued", "serve"]
