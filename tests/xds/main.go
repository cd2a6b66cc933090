// A control plane for tests: go-control-plane's snapshot cache and state-of-the-world server on 127.0.0.1.
//
// It prints a line of JSON for each thing that happens: `listening`, a `stream` with its headers, a `request`, the `end`
// of a stream. Each line that it reads is a snapshot, as JSON: `version`, `resources` in protobuf's JSON, `copies` of the
// first resource under other names and domains, and `wrapped` to send them as resources of another type. It ends with
// its input.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	ratelimit "github.com/envoyproxy/go-control-plane/ratelimit/config/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Every client gets the same snapshot.
const everybody = "everybody"

type oneGroup struct{}

func (oneGroup) ID(*core.Node) string { return everybody }

type command struct {
	Version   string            `json:"version"`
	Resources []json.RawMessage `json:"resources"`
	Copies    int               `json:"copies"`
	Wrapped   bool              `json:"wrapped"`
}

// Callbacks run on the goroutines of streams.
var printing sync.Mutex

func tell(what string, value any) {
	line, err := json.Marshal(map[string]any{what: value})
	if err != nil {
		log.Fatal(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to listen")
	certificate := flag.String("cert", "", "certificate; plain text without one")
	key := flag.String("key", "", "its key")
	clientCA := flag.String("client-ca", "", "the CA of clients, which then need a certificate")
	flag.Parse()

	snapshots := cache.NewSnapshotCache(true, oneGroup{}, nil)
	callbacks := server.CallbackFuncs{
		StreamOpenFunc: func(ctx context.Context, id int64, _ string) error {
			headers, _ := metadata.FromIncomingContext(ctx)
			tell("stream", map[string]any{"id": id, "headers": headers})
			return nil
		},
		StreamRequestFunc: func(id int64, request *discovery.DiscoveryRequest) error {
			text, err := protojson.Marshal(request)
			if err != nil {
				return err
			}
			tell("request", json.RawMessage(text))
			return nil
		},
		StreamClosedFunc: func(id int64, _ *core.Node) { tell("end", id) },
	}
	var options []grpc.ServerOption
	if *certificate != "" {
		options = append(options, grpc.Creds(credentials.NewTLS(secured(*certificate, *key, *clientCA))))
	}
	service := grpc.NewServer(options...)
	discovery.RegisterAggregatedDiscoveryServiceServer(service, server.NewServer(context.Background(), snapshots, callbacks))
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(service.Serve(listener)) }()
	tell("listening", listener.Addr().String())

	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var next command
		if err := json.Unmarshal(line, &next); err != nil {
			log.Fatal(err)
		}
		if err := snapshots.SetSnapshot(context.Background(), everybody, next.snapshot()); err != nil {
			log.Fatal(err)
		}
	}
}

func (next command) snapshot() *cache.Snapshot {
	var resources []types.Resource
	for _, text := range next.Resources {
		config := &ratelimit.RateLimitConfig{}
		if err := protojson.Unmarshal(text, config); err != nil {
			log.Fatal(err)
		}
		resources = append(resources, config)
	}
	for at := range next.Copies {
		config := proto.Clone(resources[0]).(*ratelimit.RateLimitConfig)
		config.Name = fmt.Sprintf("%s-%d", config.Name, at)
		config.Domain = fmt.Sprintf("%s-%d", config.Domain, at)
		resources = append(resources, config)
	}
	if !next.Wrapped {
		snapshot, err := cache.NewSnapshot(next.Version, map[resource.Type][]types.Resource{resource.RateLimitConfigType: resources})
		if err != nil {
			log.Fatal(err)
		}
		return snapshot
	}
	// With a time to live, each is sent within an envoy.service.discovery.v3.Resource.
	ttl := time.Hour
	var wrapped []types.ResourceWithTTL
	for _, config := range resources {
		wrapped = append(wrapped, types.ResourceWithTTL{Resource: config, TTL: &ttl})
	}
	snapshot, err := cache.NewSnapshotWithTTLs(next.Version, map[resource.Type][]types.ResourceWithTTL{resource.RateLimitConfigType: wrapped})
	if err != nil {
		log.Fatal(err)
	}
	return snapshot
}

// TLS 1.3 with a client certificate, as Envoy Gateway demands.
func secured(certificate, key, clientCA string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(clientCA)
	if err != nil {
		log.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(text)
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		MinVersion:   tls.VersionTLS13,
	}
}
