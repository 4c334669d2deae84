#!/bin/sh
# Lays or updates the schema of Temporal's two databases. Run again it changes nothing. The server is named by SQL_*.
set -eu
schema=/etc/temporal/schema/postgresql/v12

prepare() {
	database=$1 versions=$2
	temporal-sql-tool --db "$database" create
	temporal-sql-tool --db "$database" setup-schema -v 0.0
	temporal-sql-tool --db "$database" update-schema -d "$versions"
}

prepare temporal "$schema/temporal/versioned"
prepare temporal_visibility "$schema/visibility/versioned"
