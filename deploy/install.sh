#!/bin/sh
# install.sh BINARY DESTDIR PREFIX: binary, man pages, completions, systemd unit and a sample configuration.
# Asks the binary itself for its pages and completions. Writes nothing outside DESTDIR.
set -eu
bin=$1 root=$2 prefix=$3
here=$(dirname "$0")
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
env -u PACELINE_CONFIG "$bin" generate "$made"

put() { install -D -m "$1" "$2" "$root$prefix/$3"; }
put 755 "$bin" bin/paceline
for page in "$made"/*.1; do put 644 "$page" "share/man/man1/$(basename "$page")"; done
put 644 "$made/paceline.bash" share/bash-completion/completions/paceline
put 644 "$made/_paceline" share/zsh/site-functions/_paceline
put 644 "$made/paceline.fish" share/fish/vendor_completions.d/paceline.fish
sed "s#/usr/local/bin/#$prefix/bin/#" "$here/systemd/paceline.service" >"$made/paceline.service"
put 644 "$made/paceline.service" lib/systemd/system/paceline.service
for file in "$here"/../config/paceline.toml "$here"/../config/full.toml; do
    put 644 "$file" "share/doc/paceline/$(basename "$file")"
done
