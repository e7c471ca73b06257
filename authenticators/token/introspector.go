package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/edgeauth/caddy-edgeauth/authenticators"
	"github.com/edgeauth/caddy-edgeauth/identity"
	"github.com/edgeauth/caddy-edgeauth/internal/queue"
	"github.com/edgeauth/caddy-edgeauth/store"
)

// introspector asks an OAuth server whose tokens are: once at a time for each token,
// and for so many tokens at a time.
type introspector struct {
	url                    string
	clientID, clientSecret string
	post                   bool // they go into the form, and not into Authorization
	audience               []string
	issuer                 string
	mapping                *identity.Mapping
	timeout                time.Duration
	maxAge                 time.Duration
	heedHeader             bool // Cache-Control may shorten maxAge
	logger                 *zap.Logger

	client  *http.Client
	asking  singleflight.Group
	slots   *queue.Queue
	breaker breaker
}

const (
	// maxAsking is how many questions are under way at once.
	maxAsking = 64

	// maxToAsk is how many wait for that: a server that answers in 20 ms has been asked
	// about so many within a third of a second.
	maxToAsk = 1024

	// maxAnswer is the longest answer, in bytes.
	maxAnswer = 64 << 10

	// maxIntrospected is the longest token that is asked about, in bytes.
	maxIntrospected = 8 << 10

	// maxRefused is how long it is known of a token that it is none. One that has
	// just been issued may take a moment to be known everywhere at its server.
	maxRefused = 5 * time.Second
)

func newIntrospector(i *introspector) *introspector {
	i.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSHandshakeTimeout:    i.timeout,
			ResponseHeaderTimeout:  i.timeout,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    maxAsking,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
		// The token and the client's secret go to nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	i.slots = queue.New(maxAsking, maxToAsk, queue.NewestFirst)
	return i
}

// verdict is what the server said of a token.
type verdict struct {
	who   *identity.Identity // nil: the token is not active
	until time.Time          // when it is to be asked again
}

func (i *introspector) find(ctx context.Context, token authenticators.Secret) (*identity.Identity, error) {
	if token == "" || len(token) > maxIntrospected || isEmptyValue(token.Reveal()) {
		return nil, errUnknown
	}
	// The question is everybody's who has this token: it outlives a caller.
	first := queue.IsFirst(ctx)
	shared := i.asking.DoChan(token.Digest(), func() (said any, err error) { //nolint:contextcheck // see above
		ctx, cancel := context.WithTimeout(context.Background(), i.timeout)
		defer cancel()
		if first {
			ctx = queue.First(ctx)
		}
		defer func() { // what panics here would end the process
			if cause := recover(); cause != nil {
				err = fmt.Errorf("introspection: panic: %v", cause)
			}
		}()
		return i.ask(ctx, token)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case said := <-shared:
		if said.Err != nil {
			return nil, said.Err
		}
		v := said.Val.(verdict)
		store.ReadUntil(ctx, v.until)
		if v.who == nil {
			return nil, errUnknown
		}
		who := *v.who // others have it too
		return &who, nil
	}
}

// ask takes a slot, and asks unless the server has just failed several times.
func (i *introspector) ask(ctx context.Context, token authenticators.Secret) (verdict, error) {
	if err := i.breaker.check(time.Now()); err != nil {
		return verdict{}, err
	}
	if i.slots.Enter(ctx) != nil {
		return verdict{}, errors.New("introspection: too many tokens to ask about at once")
	}
	defer i.slots.Leave()
	answer, maxAge, err := i.request(ctx, token)
	if err != nil {
		err = fmt.Errorf("introspection: %w", err)
	}
	switch change := i.breaker.note(time.Now(), err); {
	case change && err != nil:
		i.logger.Error("the OAuth server can't be asked about tokens; they are answered 503 until it can", zap.String("url", i.url), zap.Error(err))
	case change:
		i.logger.Info("the OAuth server answers again", zap.String("url", i.url))
	}
	if err != nil {
		return verdict{}, err
	}
	now := time.Now()
	who, err := i.judge(answer, now)
	var bad *invalidError
	switch {
	case errors.As(err, &bad), errors.Is(err, errUnknown):
		return verdict{nil, now.Add(min(maxAge, maxRefused))}, nil
	case err != nil:
		return verdict{}, fmt.Errorf("introspection: %w", err)
	}
	until := now.Add(maxAge)
	if !who.Expires.IsZero() && who.Expires.Before(until) {
		until = who.Expires
	}
	return verdict{who, until}, nil
}

// request returns the answer, and how long it holds.
func (i *introspector) request(ctx context.Context, token authenticators.Secret) (map[string]any, time.Duration, error) {
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}
	if i.post {
		form.Set("client_id", i.clientID)
		form.Set("client_secret", i.clientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if !i.post { // encoded as RFC 6749, section 2.3.1, has it
		req.SetBasicAuth(url.QueryEscape(i.clientID), url.QueryEscape(i.clientSecret))
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, 0, fmt.Errorf("answer %s: the server does not take client_id and client_secret", resp.Status)
	default:
		return nil, 0, fmt.Errorf("answer %s", resp.Status)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" {
		return nil, 0, fmt.Errorf("answer of type '%.100s'; application/json is expected", kind)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxAnswer {
		return nil, 0, fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	answer, err := identity.ParseClaims(data)
	if err != nil {
		return nil, 0, fmt.Errorf("answer: %w", err)
	}
	if _, ok := answer["active"].(bool); !ok {
		return nil, 0, errors.New("answer without a true or false called active")
	}
	return answer, i.holds(resp.Header), nil
}

// holds is how long an answer does.
func (i *introspector) holds(h http.Header) time.Duration {
	if !i.heedHeader {
		return i.maxAge
	}
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				return min(i.maxAge, time.Duration(seconds)*time.Second)
			}
		}
	}
	return i.maxAge
}

// judge holds an answer to the config, and makes the identity of an active token.
func (i *introspector) judge(answer map[string]any, now time.Time) (*identity.Identity, error) {
	if active, _ := answer["active"].(bool); !active {
		return nil, errUnknown
	}
	expires, err := i.checkTimes(answer, now)
	if err != nil {
		return nil, err
	}
	if err := i.checkTarget(answer); err != nil {
		return nil, err
	}
	who, err := i.mapping.Identify(answer)
	if err != nil {
		return nil, &invalidError{err}
	}
	if verified, said := answer["email_verified"]; said && verified != true {
		who.Email = ""
	}
	who.Expires = expires
	if who.AuthTime, err = timeOf(answer, "auth_time"); err == nil && who.AuthTime.IsZero() {
		who.AuthTime, err = timeOf(answer, "iat")
	}
	return who, err
}

func (*introspector) checkTimes(answer map[string]any, now time.Time) (time.Time, error) {
	expires, err := timeOf(answer, "exp")
	if err != nil {
		return expires, err
	}
	from, err := timeOf(answer, "nbf")
	switch {
	case err != nil:
		return expires, err
	case !expires.IsZero() && !now.Before(expires):
		return expires, &invalidError{errors.New("expired")}
	case from.After(now):
		return expires, &invalidError{errors.New("nbf is in the future: are the clocks right?")}
	}
	return expires, nil
}

// checkTarget refuses tokens that are not for us, or of another kind than access
// tokens, or bound to a key that the caller would have to prove.
func (i *introspector) checkTarget(answer map[string]any) error {
	if i.issuer != "" && answer["iss"] != i.issuer {
		return &invalidError{errors.New("iss is another, or none")}
	}
	if len(i.audience) > 0 && !anyOf(identity.Texts(answer["aud"]), i.audience) {
		return &invalidError{errors.New("aud names another audience, or none")}
	}
	for _, name := range []string{"token_use", "token_type", "typ"} {
		kind, _ := answer[name].(string)
		switch strings.ToLower(kind) {
		case "refresh", "refresh_token", "offline", "id", "id_token":
			return &invalidError{errors.New("not an access token")}
		case "dpop":
			return &invalidError{errors.New("bound to a key (DPoP)")}
		}
	}
	if answer["cnf"] != nil {
		return &invalidError{errors.New("bound to a key (cnf)")}
	}
	return nil
}

func anyOf(values, wanted []string) bool {
	return slices.ContainsFunc(values, func(value string) bool { return slices.Contains(wanted, value) })
}

// timeOf reads seconds since 1970; the zero time where there are none.
func timeOf(answer map[string]any, name string) (time.Time, error) {
	value, said := answer[name]
	if !said || value == nil {
		return time.Time{}, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, &invalidError{fmt.Errorf("%s is no number", name)}
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 1 || seconds > maxTime {
		return time.Time{}, &invalidError{fmt.Errorf("%s is no time in seconds", name)}
	}
	return time.Unix(int64(seconds), 0), nil
}

// maxTime is in the year 9999, so that milliseconds by mistake are beyond it.
const maxTime = 253402300799

// breaker spares callers the wait for a server that has failed several times in a
// row: for a moment at a time, nobody asks it.
type breaker struct {
	mu       sync.Mutex // guards what follows
	failures int        // in a row
	last     error
	until    time.Time
}

const (
	breakAfter = 3
	breakFor   = time.Second
)

func (b *breaker) check(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.until) {
		return fmt.Errorf("not asked, since it failed a moment ago: %w", b.last)
	}
	return nil
}

// note takes what became of a question, and reports whether things have changed.
func (b *breaker) note(now time.Time, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		failed := b.failures > 0
		b.failures, b.last, b.until = 0, nil, time.Time{}
		return failed
	}
	b.failures++
	b.last = err
	if b.failures >= breakAfter {
		b.until = now.Add(breakFor)
	}
	return b.failures == 1
}
