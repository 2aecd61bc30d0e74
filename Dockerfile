# One image for both roles of a cluster; the first argument says which:
#
#     docker build -t orrery .
#     docker run orrery scheduler --insecure
#     docker run orrery executor --scheduler-host HOST --insecure
#
# Targets: `runtime` (the default) compiles the program here; `prebuilt` takes a binary that was compiled elsewhere, see scripts/build-image.sh.
# Both base images are arguments, so that a machine without a registry can bring its own. Docker without BuildKit, as in Debian 12, has to manage
# too: hence only the classic syntax, and hence the order of the stages, because it builds all stages above the wanted one.
ARG BUILDER_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# What surrounds the binary. The C library must not be older than the one it was linked with, hence one Debian release for both base images.
FROM ${RUNTIME_IMAGE} AS base
# Certificates are for warehouses on object stores over HTTPS. A base image that has them already is left as it is and needs no network.
RUN [ -e /etc/ssl/certs/ca-certificates.crt ] \
    || { apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*; }
# A fixed number, so that owners of mounted folders can be set from outside.
RUN groupadd --gid 10001 orrery \
    && useradd --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin orrery \
    && install -d -o 10001 -g 10001 /warehouse /state /work
# Other containers have to reach the servers; the program's own default is this machine only. They start with certificates, or with --insecure.
ENV ORRERY_BIND_HOST=0.0.0.0 \
    ORRERY_WAREHOUSE=/warehouse \
    ORRERY_STATE_DIR=/state \
    ORRERY_WORK_DIR=/work
# Declared after the folder has its owner: a new volume starts as a copy of the folder, owner included.
VOLUME /warehouse
# Scheduler: 50050 for executors, 50060 for clients, 8080 for HTTP. Executor: 50051 rows, 50052 tasks, 50053 HTTP.
EXPOSE 50050 50060 8080 50051 50052 50053
# A small image has no curl, but bash opens TCP connections itself. Without ORRERY_HTTP_PORT the default ports of both roles are tried. `/healthz`
# and not `/readyz`: a scheduler without executors is healthy, and restarting it would not bring any. The start period covers the time that an
# executor waits for its scheduler.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["bash", "-c", "\
    for port in ${ORRERY_HTTP_PORT:-8080 50053}; do \
        { exec 3<>/dev/tcp/127.0.0.1/$port; } 2>/dev/null || continue; \
        printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3; \
        read -r -t 3 _ status _ <&3 && [ \"$status\" = 200 ] && exit 0; \
    done; \
    echo \"no healthy answer on port ${ORRERY_HTTP_PORT:-8080 or 50053}\"; exit 1"]
# The number and not the name: an orchestrator can then tell that this is not root.
USER 10001:10001
ENTRYPOINT ["orrery"]
CMD ["--help"]

# The context is a folder that holds nothing but the binary `orrery`. Above `runtime` this stage must also build from the checkout, where there is
# none: a pattern may match nothing, but some file has to be copied.
FROM base AS prebuilt
COPY orrer[y] Cargo.tom[l] /usr/local/bin/

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /src
COPY . .
# Names of functions stay, for readable backtraces; line tables would be most of the file.
RUN cargo build --release --locked -p orrery && strip --strip-debug target/release/orrery

FROM base AS runtime
COPY --from=builder /src/target/release/orrery /usr/local/bin/orrery
