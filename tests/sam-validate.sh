#!/usr/bin/env bash
# Validates template.yaml. Needs the SAM CLI and cfn-lint (both from PyPI).
set -euo pipefail
cd "$(dirname "$0")/.."
export SAM_CLI_TELEMETRY=0 AWS_REGION="${AWS_REGION:-us-east-1}"
sam validate --lint --template template.yaml
cfn-lint template.yaml
