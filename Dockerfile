# One image for every role: ROLE picks what a container is. Both base images are build arguments, so
# that it also builds where no registry can be reached (tests/deployment/docker.sh does).
ARG BUN_VERSION=1.4.5
ARG BUN_IMAGE=oven/bun:${BUN_VERSION}
# It needs glibc and certificates, nothing else: no shell, no package manager.
ARG RUNTIME_IMAGE=gcr.io/distroless/base-debian12:nonroot

FROM ${BUN_IMAGE} AS build
WORKDIR /build
# The dependencies first: they change less often than the program, and so stay cached.
COPY package.json bun.lock bunfig.toml tsconfig.json ./
RUN bun install --frozen-lockfile --production
COPY sdk sdk
COPY web web
COPY src src
# A .env or a bunfig.toml beside the executable is not its configuration: the environment is.
RUN bun build --compile --minify --sourcemap=inline \
    --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
    src/main.ts --outfile /out/chatify \
  && mkdir /data

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Chatify" \
      org.opencontainers.image.description="Self-hosted instant messaging and push" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/chatify /usr/local/bin/chatify
# Only `offline` on SQLite keeps anything here; a named volume takes over the owner.
COPY --from=build --chown=65532:65532 /data /data
# Metrics and health are for the container's network; compose.yml and the chart do not publish them.
ENV DATA_DIR=/data ADMIN_HOST=0.0.0.0
# See "Memory that is freed" in docs/DEPLOYMENT.md.
ENV MIMALLOC_PURGE_DELAY=10000
WORKDIR /data
USER 65532:65532
VOLUME /data
# Clients, trunk, roles' own HTTP, metrics and health.
EXPOSE 8080 8031 8032 8033 8034 8023 9464
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/usr/local/bin/chatify", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/chatify"]
