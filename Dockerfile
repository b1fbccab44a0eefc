# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# The embedded SQLite is C.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /kaneda
# The dependencies by themselves: this layer stays as long as they do.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && for bench in $(sed -n '/^\[\[bench\]\]/,/^name/s/^name = "\(.*\)"/\1/p' Cargo.toml); do touch "benches/$bench.rs"; done \
    && cargo build --release --locked && rm -r src
COPY config config
COPY src src
# Newer than what the layer above has built.
RUN touch src/main.rs src/lib.rs
RUN cargo build --release --locked
# What the daemon writes belongs to the user it runs as.
RUN mkdir -p /image/var/lib/kaneda

# The C library, its loader and nothing else: no shell, no package manager. User 65532 is `nonroot`.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /kaneda/target/release/kaneda /usr/bin/kaneda
COPY --from=build --chown=65532:65532 /image/var/lib/kaneda /var/lib/kaneda
USER 65532:65532
WORKDIR /var/lib/kaneda
VOLUME /var/lib/kaneda
# In a container loopback is the container's own: others come from outside. Mount a file and name it in
# KANEDA_SETTINGS, or set single keys as these.
ENV KANEDA_ADMIN_LISTEN=0.0.0.0:8126 \
    KANEDA_SOURCE_UDP_LISTEN=0.0.0.0:8125 \
    KANEDA_SOURCE_TCP_LISTEN=0.0.0.0:8125
EXPOSE 8125/udp 8125/tcp 8126/tcp
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/usr/bin/kaneda", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/kaneda"]
