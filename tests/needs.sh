# Sourced by tests/run and tests/outside/run: what the tests need beyond Rust, installed when it is missing and can be.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/custodia-tests"
mkdir -p "$cache"

# need COMMAND PACKAGE: COMMAND is there, or PACKAGE is installed by apt-get (root on Debian), or the run ends with a word.
need() {
    command -v "$1" >/dev/null && return
    install_package "$2"
    command -v "$1" >/dev/null || missing "the command \`$1\` (Debian: $2)"
}

install_package() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        [ -n "${package_lists:-}" ] || apt-get -qq update >&2 </dev/null || true
        package_lists=read
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "$1" >&2 </dev/null || true
    fi
}

missing() {
    echo "Missing: $1. Install it, or run the tests as root on Debian, where they install it." >&2
    exit 2
}

# python_venv REQUIREMENTS: a venv with these packages; sets $python.
python_venv() {
    local venv="$cache/venv"
    python="$venv/bin/python"
    need python3 python3
    if ! "$python" -c '' 2>/dev/null; then
        rm -rf "$venv"
        # Debian ships venv without the part that makes one.
        python3 -m venv "$venv" >/dev/null 2>&1 || { rm -rf "$venv"; install_package python3-venv; python3 -m venv "$venv" >&2; } ||
            missing "Python's venv (Debian: python3-venv)"
    fi
    if ! cmp -s "$1" "$venv/requirements.txt"; then
        "$python" -m pip install --quiet --disable-pip-version-check -r "$1" >&2 </dev/null ||
            missing "the Python packages of $1 (no package index reached)"
        cp "$1" "$venv/requirements.txt"
    fi
}
