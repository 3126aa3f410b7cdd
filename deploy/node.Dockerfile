# merod. Build context: the root of the repository.
# Targets: merod (default), merobox-node and merobox-node-gated (docs/clients.md).
FROM golang:1.26-alpine AS build
ENV CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local
# The standard library first: both images share this layer, and it outlives changes of the sources.
RUN go build -trimpath net/http log/slog
WORKDIR /src
COPY pkg/go.mod pkg/
COPY services/auth/go.mod services/auth/
COPY services/node/go.mod services/node/go.sum services/node/
RUN go -C services/node mod download
COPY pkg pkg
COPY services/auth services/auth
COPY services/node services/node
ARG VERSION=0.0.0-dev
ARG COMMIT=unknown
RUN go -C services/node build -trimpath \
    -ldflags "-s -w -X github.com/calimero-network/mero-go/pkg/buildinfo.Version=$VERSION -X github.com/calimero-network/mero-go/pkg/buildinfo.Commit=$COMMIT" \
    -o /root-fs/usr/local/bin/merod ./cmd/merod
# merobox starts the images as "root", by this name. A new named volume takes the owner and mode of the directory it is
# mounted on.
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/data /root-fs/link \
    && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nmero:x:10001:10001:mero:/data:/sbin/nologin\n' > /root-fs/etc/passwd \
    && printf 'root:x:0:\nmero:x:10001:\n' > /root-fs/etc/group \
    && chmod 0700 /root-fs/data && chmod 0750 /root-fs/link \
    && chown 10001:10001 /root-fs/data /root-fs/link

FROM scratch AS base
COPY --from=build /root-fs/ /
ENV PATH=/usr/local/bin
USER 10001:10001
EXPOSE 2528
CMD ["merod", "--home", "/data", "--node", "node", "run", "--init"]

# merobox runs "merod --home /app/data --node NAME init" and "... run" as root and calls the published port without a
# token, so the node answers everybody who names it by one of these names. For tests on a closed machine.
FROM base AS merobox-node
ENV MEROD_SERVER__AUTH_MODE=none \
    MEROD_SERVER__NONE__ALLOW_NON_LOOPBACK=true \
    MEROD_SERVER__ALLOWED_HOSTS=*.127.0.0.1.nip.io,host.docker.internal
USER 0:0

# The same for `merobox run --auth-service`: the node wants the identity that merobox's Traefik injects. That Traefik
# passes no assertion on, so whoever reaches the published port past it can invent one.
FROM base AS merobox-node-gated
ENV MEROD_SERVER__AUTH_MODE=proxy \
    MEROD_SERVER__PROXY__TRUSTED_HEADER=X-Auth-User \
    MEROD_SERVER__PROXY__REQUIRE_ASSERTION=false \
    MEROD_SERVER__PROXY__TRUSTED_PEERS=172.17.0.0/16,172.18.0.0/16,172.19.0.0/16,172.20.0.0/16,172.21.0.0/16,172.22.0.0/16,172.23.0.0/16,172.24.0.0/16,172.25.0.0/16,172.26.0.0/16,172.27.0.0/16,172.28.0.0/16,172.29.0.0/16,172.30.0.0/16,172.31.0.0/16,192.168.0.0/16 \
    MEROD_SERVER__ALLOWED_HOSTS=*.127.0.0.1.nip.io
USER 0:0

FROM base AS merod
ENV MEROD_SERVER__LISTEN=/ip4/0.0.0.0/tcp/2528
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=6 CMD ["merod", "--home", "/data", "--node", "node", "healthcheck"]
