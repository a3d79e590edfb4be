#!/bin/sh
# With the settings of Nextcloud's image: installs at the first start, runs the hooks, and answers on port 80. Else: n8n on port 5678.
set -eu
if [ -z "${NEXTCLOUD_ADMIN_USER:-}" ]; then
    exec python3 /usr/local/bin/standin.py 5678
fi
if ! [ -e /var/www/html/installed ]; then
    for hook in /docker-entrypoint-hooks.d/post-installation/*.sh; do
        [ -x "$hook" ] || { echo "$hook is not executable" >&2; exit 1; }
        "$hook"
    done
    : >/var/www/html/installed
fi
exec python3 /usr/local/bin/standin.py 80
