# mero-auth. Build context: the root of the repository.
# Targets: mero-auth (default) and merobox-auth (docs/clients.md).
FROM golang:1.26-alpine AS build
ENV CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local
# The standard library first: both images share this layer, and it outlives changes of the sources.
RUN go build -trimpath net/http log/slog
WORKDIR /src
COPY pkg/go.mod pkg/
COPY services/auth/go.mod services/auth/go.sum services/auth/
RUN go -C services/auth mod download
COPY pkg pkg
COPY services/auth services/auth
ARG VERSION=0.0.0-dev
ARG COMMIT=unknown
RUN go -C services/auth build -trimpath \
    -ldflags "-s -w -X github.com/calimero-network/mero-go/pkg/buildinfo.Version=$VERSION -X github.com/calimero-network/mero-go/pkg/buildinfo.Commit=$COMMIT" \
    -o /root-fs/usr/local/bin/mero-auth ./cmd/mero-auth
# merobox starts the images as "root", by this name. A new named volume takes the owner and mode of the directory it is
# mounted on.
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/data /root-fs/keys /root-fs/link \
    && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nmero:x:10001:10001:mero:/data:/sbin/nologin\n' > /root-fs/etc/passwd \
    && printf 'root:x:0:\nmero:x:10001:\n' > /root-fs/etc/group \
    && chmod 0700 /root-fs/data /root-fs/keys && chmod 0750 /root-fs/link \
    && chown 10001:10001 /root-fs/data /root-fs/keys /root-fs/link

FROM scratch AS base
COPY --from=build /root-fs/ /
ENV PATH=/usr/local/bin AUTH_LISTEN_ADDR=0.0.0.0:3001
USER 10001:10001
EXPOSE 3001
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=6 CMD ["mero-auth", "healthcheck"]
CMD ["mero-auth"]

# merobox mounts one volume at /data, starts the image as root and routes to it with its own Traefik, whose address
# Docker chooses among its default pools.
FROM base AS merobox-auth
ENV AUTH_STORAGE__PATH=/data/auth \
    AUTH_SECRETS__KEY_DIR=/data/auth.key \
    AUTH_PROVIDERS__USER_PASSWORD=true \
    AUTH_FORWARD__PLAIN_PROXY=traefik \
    AUTH_FORWARD__TRUSTED_PROXIES=127.0.0.1/32,172.17.0.0/16,172.18.0.0/16,172.19.0.0/16,172.20.0.0/16,172.21.0.0/16,172.22.0.0/16,172.23.0.0/16,172.24.0.0/16,172.25.0.0/16,172.26.0.0/16,172.27.0.0/16,172.28.0.0/16,172.29.0.0/16,172.30.0.0/16,172.31.0.0/16,192.168.0.0/16
USER 0:0

FROM base AS mero-auth
ENV AUTH_STORAGE__PATH=/data AUTH_SECRETS__KEY_DIR=/keys
