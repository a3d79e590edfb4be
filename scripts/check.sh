#!/bin/sh
# Everything that can be said of the source without running it; what is quick comes first.
. "$(dirname "$0")/common.sh"
need_cargo
need_tools

step "formatting"
cargo fmt --all -- --check
step "unused and misplaced dependencies"
quietly cargo shear
step "licences, sources, duplicates and bans of dependencies"
cargo deny --locked check --hide-inclusion-graph licenses sources bans
step "lints"
cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
step "files of docker/ and deploy/"
for script in scripts/*.sh docker/*.sh docker/*/*.sh tests/image/*.sh deploy/systemd/debian/*; do sh -n "$script"; done
if python_environment "$target/python/deployment" check-jsonschema==0.39.0 kubernetes-validate==1.37.0; then
    "$venv/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker/*.yaml
    for file in deploy/kubernetes/base/*.yaml; do
        case "$file" in */kustomization.yaml) ;; *) "$venv/bin/kubernetes-validate" --quiet --strict "$file" ;; esac
    done
    # What the chart puts into Nextcloud's pod, in a pod of its own.
    pod=$(mktemp --suffix=.yaml)
    { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: nextcloud}\nspec:\n'
      sed -n -e 's/^  extraSidecarContainers:/  containers:/' -e 's/^  extraVolumes:/  volumes:/' -e '/^  /p' deploy/kubernetes/nextcloud-helm-values.yaml; } >"$pod"
    "$venv/bin/kubernetes-validate" --quiet --strict "$pod"
    rm -f "$pod"
else
    say "the files of docker/ and deploy/ were NOT CHECKED against the schemas of Compose and Kubernetes: PyPI cannot be reached from here"
fi
step "programs of examples/"
cargo fmt --manifest-path examples/rust/Cargo.toml -- --check
if command -v python3 >/dev/null 2>&1; then
    python3 - examples/*/*.py examples/windmill/f/openregister/*.py tests/foreign/*.py <<'PYTHON'
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name)
PYTHON
fi
if command -v node >/dev/null 2>&1; then node --check examples/node/consumer.mjs; fi
if command -v php >/dev/null 2>&1; then quietly php -l examples/php/webhook.php; fi
step "known vulnerabilities"
if cargo deny --locked fetch db >/dev/null 2>&1; then
    cargo deny --locked check --hide-inclusion-graph advisories
    say "all checks passed"
else
    missing="known vulnerabilities were NOT CHECKED: https://github.com/rustsec/advisory-db cannot be reached from here"
    [ "${CHECK_ADVISORIES:-}" != required ] || fail "$missing"
    say "all other checks passed"
    say "$missing (CHECK_ADVISORIES=required makes this an error)"
fi
