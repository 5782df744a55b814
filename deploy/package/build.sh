#!/usr/bin/env bash
# Makes the packages and the image of one commit: bash deploy/package/build.sh [FOLDER [ARCHITECTURE...]], by default dist, amd64 and arm64.
# The same commit and version give the same bytes: nothing here looks at a clock, at the folder it runs in, or at who runs it.
# Only the image has something of the machine's: the certificate authorities that its system trusts.
set -euo pipefail
out=$(realpath -m "${1:-dist}")
cd "$(dirname "$0")/../.."
shift || true
[ $# -gt 0 ] || set -- amd64 arm64
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.44.2

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# A tag as it is (v1.2.3), what follows one behind a plus; without any, the day and the commit, before every version.
version=${VERSION:-$(git describe --tags --abbrev=12 2>/dev/null || TZ=UTC git log -1 --abbrev=12 --date=format-local:%Y%m%d --format=v0.0.0~git%cd.%h)}
version=${version#v}
PACKAGE_VERSION=${version/-/+}
PACKAGE_VERSION=${PACKAGE_VERSION//-/.}
export SOURCE_DATE_EPOCH PACKAGE_VERSION
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
go build -o "$work/" ./cmd/bearerd ./deploy/package/sbom ./deploy/docker/image
GOBIN=$work go install "$nfpm"
programs=()
for ARCH in "$@"; do
  export ARCH STAGE=$work/$ARCH
  mkdir -p "$STAGE/man"
  GOOS=linux GOARCH=$ARCH go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$PACKAGE_VERSION" -o "$STAGE/bearerd" ./cmd/bearerd
  programs+=("$ARCH=$STAGE/bearerd")
  "$work/sbom" "$STAGE/bearerd" "$PACKAGE_VERSION" >"$STAGE/bearerd.cdx.json"
  cp "$STAGE/bearerd.cdx.json" "$out/bearerd_${PACKAGE_VERSION}_$ARCH.cdx.json"
  gzip -9n <deploy/package/bearerd.1 >"$STAGE/man/bearerd.1.gz"
  for shell in bash zsh fish; do "$work/bearerd" completion "$shell" >"$STAGE/bearerd.$shell"; done
  # Where the two families keep zsh's completions.
  ZSH=/usr/share/zsh/vendor-completions "$work/nfpm" package --config deploy/package/nfpm.yaml --packager deb --target "$out/"
  ZSH=/usr/share/zsh/site-functions "$work/nfpm" package --config deploy/package/nfpm.yaml --packager rpm --target "$out/"
done
"$work/image" --out "$out/bearerd_$PACKAGE_VERSION.oci.tar" --version "$PACKAGE_VERSION" --time "$SOURCE_DATE_EPOCH" "${programs[@]}"
cd "$out"
sha256sum bearerd_"$PACKAGE_VERSION"_*.cdx.json bearerd_"$PACKAGE_VERSION".oci.tar bearerd_"$PACKAGE_VERSION"_*.deb bearerd-"$PACKAGE_VERSION"-1.*.rpm >SHA256SUMS
