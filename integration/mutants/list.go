package main

// mutant is a flaw of a kind that gateways have fallen by, put into our code. One of
// the tests must fail with it.
type mutant struct {
	name  string
	edits []edit
	tests []tests // in the order in which they are tried; each alone suffices
}

// edit replaces text that stands once in a file.
type edit struct{ file, old, new string }

// tests are those of a package whose names match.
type tests struct{ in, named string }

// The suites that drive the built Caddy, which is then built with the flaw.
const (
	attacks     = "./integration/attacks"
	faults      = "./integration/faults"
	integration = "./integration"
)

var mutants = []mutant{
	{
		"skip strip",
		[]edit{{"state.go", "return names.Has(name) && !keep.Has(name) })\n\t\tidentity.StripTrailers", "return false })\n\t\tidentity.StripTrailers"}},
		[]tests{{attacks, "TestForgedHeadersReachNoUpstream"}},
	},
	{
		"strip only exact names",
		[]edit{{"identity/names.go", "\t\tdefault:\n\t\t\tc = '-'\n", ""}},
		[]tests{{"./identity", "."}, {attacks, "TestForgedHeadersReachNoUpstream"}},
	},
	{
		"strip after next has returned",
		[]edit{{"module.go", "state := h.app.begin(r, h.Policy)", "state := stateOf(r)\n\tdefer h.app.begin(r, h.Policy)"}},
		[]tests{{attacks, "TestForgedHeadersReachNoUpstream"}},
	},
	{
		"keep trailers",
		[]edit{{"state.go", "\t\tidentity.StripTrailers(r, trailers, names)\n", "\t\t_ = trailers\n"}},
		[]tests{{attacks, "TestH40"}},
	},
	{
		"keep what Connection lists",
		[]edit{{"identity/strip.go", `nominated := r.Header["Connection"]; len(nominated) > 0`, `nominated := r.Header["Connection"]; len(nominated) > 1<<20`}},
		[]tests{{attacks, "TestH30"}},
	},
	{
		"strip not in error routes",
		[]edit{{"errorroutes.go", "\th.app.begin(r, nil)\n", ""}},
		[]tests{{attacks, "TestH60"}},
	},
	{
		"algorithm from the token",
		[]edit{
			{"keys/keys.go", "func (k *Key) Fits(alg string) bool { return slices.Contains(k.algorithms, alg) }", `func (k *Key) Fits(alg string) bool {
	if _, isPublic := k.material.(*rsa.PublicKey); isPublic && strings.HasPrefix(alg, "HS") {
		return true
	}
	return slices.Contains(k.algorithms, alg)
}`},
			{"keys/keys.go", "\tif want := signatureSize(k.material, alg); len(signature) != want {", `	if public, ok := k.material.(*rsa.PublicKey); ok && strings.HasPrefix(alg, "HS") {
		der, _ := x509.MarshalPKIXPublicKey(public)
		return verify(alg, input, signature, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	if want := signatureSize(k.material, alg); len(signature) != want {`},
			{"keys/keys.go", "\t\"crypto/subtle\"\n", "\t\"crypto/subtle\"\n\t\"crypto/x509\"\n\t\"encoding/pem\"\n"},
		},
		[]tests{{"./keys", "."}, {integration, "TestJWTRows$"}},
	},
	{
		"list of algorithms ignored",
		[]edit{{"authenticators/jwt/verify.go", "case len(a.algorithms) > 0 && !slices.Contains(a.algorithms, h.alg):", "case len(a.algorithms) > 1<<20:"}},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestJWTRows"}},
	},
	{
		"kid not scoped by issuer",
		[]edit{{"authenticators/jwt/verify.go", "\tif set := a.sets[issuer]; set != nil {\n\t\treturn set\n\t}\n\treturn a.sets[\"\"]\n", "\t_ = issuer\n\tvar all keys.Union\n\tfor _, set := range a.sets {\n\t\tall = append(all, set)\n\t}\n\treturn all\n"}},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestTwoIssuersWithOneKid|K22|TestJWTRows"}},
	},
	{
		"jwt.Parse on the raw header",
		[]edit{
			{"authenticators/jwt/verify.go", "\tif t.parts, err = split(token); err != nil {", "\tif t.parts, err = parseAny(token); err != nil {"},
			{"authenticators/jwt/verify.go", "// parts are those of a compact JWS", `// parseAny takes whatever the library takes.
func parseAny(token string) (parts, error) {
	message, err := jws.Parse([]byte(token))
	if err != nil || len(message.Signatures()) == 0 {
		return split(token)
	}
	signature := message.Signatures()[0]
	head, err := json.Marshal(signature.ProtectedHeaders())
	if err != nil {
		return parts{}, err
	}
	if strings.HasPrefix(strings.TrimSpace(token), "{") {
		var flat struct{ Protected, Payload string }
		_ = json.Unmarshal([]byte(token), &flat)
		return parts{[]byte(flat.Protected + "." + flat.Payload), head, message.Payload(), signature.Signature()}, nil
	}
	text := strings.TrimRight(strings.TrimSpace(token), "=")
	return parts{[]byte(text[:strings.LastIndex(text, ".")]), head, message.Payload(), signature.Signature()}, nil
}

// parts are those of a compact JWS`},
			{"authenticators/jwt/verify.go", "\t\"encoding/base64\"\n", "\t\"encoding/base64\"\n\t\"encoding/json\"\n"},
			{"authenticators/jwt/verify.go", "\t\"strings\"\n\n", "\t\"strings\"\n\n\t\"github.com/lestrrat-go/jwx/v2/jws\"\n"},
		},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestJWTRows"}},
	},
	{
		"exp optional",
		[]edit{{"authenticators/jwt/claims.go", "\t\treturn expires, &invalidError{\"no exp: a token that never ends can't be taken back\", \"Token has no 'exp' claim\"}\n", ""}},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestJWTRows"}},
	},
	{
		"exp 0 is for ever",
		[]edit{{"authenticators/jwt/claims.go", "\tnumber, ok := value.(json.Number)\n", "\tnumber, ok := value.(json.Number)\n\tif name == \"exp\" && number == \"0\" {\n\t\treturn time.Now().Add(time.Hour), nil\n\t}\n"}},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestJWTRows"}},
	},
	{
		"leeway in minutes",
		[]edit{{"authenticators/jwt/claims.go", "now, leeway := a.now(), time.Duration(a.Leeway)", "now, leeway := a.now(), 60*time.Duration(a.Leeway)"}},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestJWTRows"}},
	},
	{
		"aud contains",
		[]edit{{"authenticators/jwt/claims.go", "return slices.Contains(a.Audience, audience) }", "return slices.ContainsFunc(a.Audience, func(want string) bool { return strings.Contains(audience, want) }) }"}},
		[]tests{{"./authenticators/jwt", "."}, {integration, "TestJWTRows"}},
	},
	{
		"cache key without policy",
		[]edit{{"remember.go", "append(append(buffer[:0], s[:]...), secret...)", "append(append(buffer[:0], s[:0]...), secret...)"}},
		[]tests{{".", "X10|X12|X13"}, {attacks, "TestX1"}},
	},
	{
		"cache key without length prefix",
		[]edit{{"remember.go", `fmt.Appendf(nil, "%q %q %q", config, checkUser, store)`, `fmt.Appendf(nil, "%s%s%s", config, checkUser, store)`}},
		[]tests{{".", "X12|X21"}},
	},
	{
		"negative cached for ever",
		[]edit{{"remember.go", "p.rememberRefusal(refusalKey(key, c.In), err, reads, began+min(p.app.maxAge, maxRefusalAge))", "p.rememberRefusal(refusalKey(key, c.In), err, new(store.Reads), store.Forever)"}, {"refusals.go", "if !known || len(stamps) == 0 && end.IsZero() {", "if !known {"}},
		[]tests{{".", "Refus"}, {attacks, "TestX07"}},
	},
	{
		"store error is absent",
		[]edit{{"policy.go", "\t\tcase found.err != nil:\n", "\t\tcase found.err != nil && !errors.As(found.err, new(*authenticators.RejectedError)):\n\t\t\tcontinue\n\t\tcase found.err != nil:\n"}},
		[]tests{{".", "OutcomesAreKeptApart"}, {attacks, "TestErrorRows|TestS64"}, {faults, "TestD01|TestD02"}},
	},
	{
		"store error cached",
		[]edit{{"refusals.go", "\tdefault:\n\t\treturn\n\t}\n\tstamps, end, known", "\tdefault:\n\t\tkept.Absent = true\n\t}\n\tstamps, end, known"}, {"refusals.go", "if !known || len(stamps) == 0 && end.IsZero() {", "if !known {"}},
		[]tests{{".", "Refus"}, {integration, "Redis|Outage"}, {faults, "TestD0"}},
	},
	{
		"stale after tracking is lost",
		[]edit{{"store/changes.go", "return now < time.Duration(c.until.Load()) && c.stamps", "return now >= 0 && c.stamps"}, {"store/redis/track.go", "if f.heard.Swap(sent) == 0 {", "if f.heard.Swap(sent) == 0 && sent == 0 {"}},
		[]tests{{"./store/redis", "D09|D11"}},
	},
	{
		"retry without deadline",
		[]edit{{"store/redis/prepare.go", "o.ContextTimeoutEnabled = true", "o.ContextTimeoutEnabled = false"}, {"store/redis/prepare.go", "o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = ", "_, _, _, _ = "}, {"store/redis/lookups.go", "timer := time.NewTimer(l.store.timeout)", "timer := time.NewTimer(time.Hour)"}, {"store/redis/call.go", "bounded, cancel := context.WithTimeout(ctx, s.timeout)", "bounded, cancel := context.WithTimeout(ctx, time.Hour)"}, {"store/redis/call.go", "\t\"fmt\"\n", "\t\"fmt\"\n\t\"time\"\n"}},
		[]tests{{"./store/redis", "D04|Hung"}},
	},
	{
		"refresh not atomic",
		[]edit{{"records/records.go", "return s.Swap(ctx, key, old, data, ttl, lists...)", "return s.Put(ctx, key, data, ttl, lists...)"}},
		[]tests{{"./issuer", "R20"}, {attacks, "TestR12"}},
	},
	{
		"logout ignores store errors",
		[]edit{{"issuer/session.go", "\tif err != nil && !errors.Is(err, store.ErrNotFound) {\n\t\treturn fmt.Errorf(\"ending the session: %w\", err)\n\t}\n", "\t_ = fmt.Errorf\n"}},
		[]tests{{"./issuer", "R31|L21|S64"}, {attacks, "TestS64"}},
	},
	{
		"unknown user skips hashing",
		[]edit{{"records/htpasswd.go", "\tok, err := verifier.Verify(ctx, name, password, hash)\n", "\tif !u.Has(name) {\n\t\treturn ErrUnknownUser\n\t}\n\tok, err := verifier.Verify(ctx, name, password, hash)\n"}, {"records/login.go", "\t\tif hash, err = unknownUser(ctx, s, name); err != nil {\n\t\t\treturn User{}, fmt.Errorf(\"looking user up: %w\", err)\n\t\t}\n", "\t\treturn User{}, ErrUnknownUser\n"}},
		[]tests{{"./issuer", "L10"}, {attacks, "TestLoginRows"}},
	},
}
