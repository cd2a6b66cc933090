//go:build tools

// Names the programs, so that `go mod tidy` keeps what they are built from.
package tools

import (
	_ "github.com/envoyproxy/ratelimit/src/config_check_cmd"
	_ "github.com/envoyproxy/ratelimit/src/service_cmd"
)
