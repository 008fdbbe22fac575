package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// api asks the Kubernetes API server as the pod's service account. Two commands need two
// requests each; client-go would make the DaemonSet's program four times as large
// (docs/adr/0020).
type api struct {
	base   string
	client *http.Client
	// token is the file with the service account's, which the kubelet writes anew before the one
	// in it ends.
	token string
}

// An apiError is the API server's refusal, by its HTTP status.
type apiError struct {
	code int
	text string
}

func (e apiError) Error() string { return e.text }

// isGone reports whether the API server said that what it was asked for is not there, or not any more.
func isGone(err error) bool {
	e, ok := errors.AsType[apiError](err)
	return ok && e.code == http.StatusNotFound
}

// serviceAccount is where the kubelet mounts a pod's token.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

func inCluster() (api, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return api{}, errors.New("KUBERNETES_SERVICE_HOST and _PORT are not set: this runs in a pod of the cluster")
	}
	ca, err := os.ReadFile(serviceAccount + "/ca.crt")
	if err != nil {
		return api{}, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return api{}, fmt.Errorf("%s/ca.crt: no certificate", serviceAccount)
	}
	return api{
		base: "https://" + net.JoinHostPort(host, port), token: serviceAccount + "/token",
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	}, nil
}

// do makes one request and decodes the answer.
func (a api) do(ctx context.Context, method, path, contentType string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	token, err := os.ReadFile(a.token)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+string(token))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, 8<<20))
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(text, &status) // else the code alone
		return apiError{response.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, response.Status, status.Message)}
	}
	return json.Unmarshal(text, answer)
}
