# syntax=docker/dockerfile:1.7
# The production binary alone: static, without a shell beside it, not root.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" \
    -o /out/gatehouse ./cmd/gatehouse

# Pin it by digest where images can be looked up; the tag's content moves with security fixes.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/gatehouse /gatehouse
USER nonroot:nonroot
EXPOSE 8080 9090
ENTRYPOINT ["/gatehouse"]
CMD ["api"]
