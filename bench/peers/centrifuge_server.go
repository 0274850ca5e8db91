// Centrifuge (the library that Centrifugo is made of) doing the work of the chat bench: every user is
// subscribed to a channel of its own, with history in Redis and recovery, and publishes to its
// partner's. Built into a directory of its own; see bench/targets/centrifuge.ts.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

const (
	historySize = 1000
	historyTTL  = time.Hour
)

// userOf reads the name in a token. Who checks it, and how fast, is not what is measured.
func userOf(r *http.Request) string {
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var body struct {
		Sub string `json:"sub"`
	}
	if json.Unmarshal(claims, &body) != nil {
		return ""
	}
	return body.Sub
}

func authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credentials := &centrifuge.Credentials{UserID: userOf(r)}
		next.ServeHTTP(w, r.WithContext(centrifuge.SetCredentials(r.Context(), credentials)))
	})
}

func newNode(redis string) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: redis})
	if err != nil {
		return nil, err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{
		Shards: []*centrifuge.RedisShard{shard},
	})
	if err != nil {
		return nil, err
	}
	node.SetBroker(broker)
	node.OnConnecting(func(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		credentials, _ := centrifuge.GetCredentials(ctx)
		return centrifuge.ConnectReply{
			Subscriptions: map[string]centrifuge.SubscribeOptions{
				credentials.UserID: {EnableRecovery: true},
			},
			PingPongConfig: &centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnPublish(func(_ centrifuge.PublishEvent, cb centrifuge.PublishCallback) {
			options := centrifuge.PublishOptions{HistorySize: historySize, HistoryTTL: historyTTL}
			cb(centrifuge.PublishReply{Options: options}, nil)
		})
	})
	return node, node.Run()
}

func main() {
	node, err := newNode("unix://" + os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{})
	http.Handle("/connection/websocket", authenticated(handler))
	fmt.Printf("{\"port\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}
