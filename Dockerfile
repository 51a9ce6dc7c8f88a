#   docker build -t tokencast .
#   docker run --rm --stop-timeout 60 -p 8080:8080 -p 4433:4433/udp -v tokencast:/data -e OPENAI_API_KEY -e TOKENCAST_AUTH__KEYS='[{name="app",sha256="…"}]' tokencast
#
# The image listens on 0.0.0.0 and therefore does not start without a key: `docker run --rm tokencast key` makes one and
# prints its SHA-256. docs/operations.md has the rest.

ARG RUST_VERSION=1.95

# Debian 13 in both, for one C library.
FROM rust:${RUST_VERSION}-slim-trixie AS build
WORKDIR /src

# 1. Dependencies alone, over empty sources: this layer changes only with the manifests.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
RUN mkdir -p src loadtest/src benches \
    && echo 'fn main() {}' | tee src/main.rs loadtest/src/main.rs $(sed -n '/^\[\[bench\]\]/{n;s/name = "\(.*\)"/benches\/\1.rs/p}' Cargo.toml) \
    && touch src/lib.rs \
    && cargo build --release --locked --bin tokencast

# 2. The program. The sources may be older than what was built of the empty ones: touch them, or cargo keeps that.
COPY src/ src/
COPY console/ console/
COPY client/dist/ client/dist/
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin tokencast \
    && mkdir /data

# glibc and the system's CA certificates, and no shell.
FROM gcr.io/distroless/cc-debian13
LABEL org.opencontainers.image.title="tokencast" \
      org.opencontainers.image.description="An AI token-stream fan-out gateway: one POST, one ordered log, any number of viewers." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /src/target/release/tokencast /usr/local/bin/tokencast
# Where the journal lives: mount a volume, or it ends with the container.
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /data
ENV TOKENCAST_HTTP__LISTEN=0.0.0.0:8080 \
    TOKENCAST_OPS__LISTEN=0.0.0.0:9464 \
    TOKENCAST_WEBTRANSPORT__LISTEN=0.0.0.0:4433 \
    TOKENCAST_JOURNAL__PATH=/data/tokencast.db
EXPOSE 8080 9464 4433/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s --retries=3 CMD ["/usr/local/bin/tokencast", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tokencast"]
CMD ["serve"]
