#!/bin/sh
# Runs once, when Nextcloud's image has installed Nextcloud: fetches OpenRegister from the app store, and enables it.
set -eu
php /var/www/html/occ app:install openregister || php /var/www/html/occ app:enable openregister
