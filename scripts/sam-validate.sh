#!/usr/bin/env bash
# Validates template.yaml and monitoring.yaml. Needs the SAM CLI and cfn-lint (both from PyPI).
set -euo pipefail
cd "$(dirname "$0")/.."
export SAM_CLI_TELEMETRY=0 AWS_REGION="${AWS_REGION:-us-east-1}"
for template in template.yaml monitoring.yaml; do
    sam validate --lint --template "$template"
done
cfn-lint template.yaml monitoring.yaml
