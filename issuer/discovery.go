package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// keysLifetime is how long others may keep our public keys, in seconds.
const keysLifetime = 300

// jwks shows the public keys as a JWK Set (RFC 7517, section 5).
func (i *Issuer) jwks(w http.ResponseWriter, r *http.Request) error {
	if err := i.host.EnsureSigningKeys(r.Context()); err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	document, err := i.ring.Document()
	if err != nil {
		return err
	}
	writePublic(w, r, document)
	return nil
}

// discovery says where the keys are (OpenID Connect Discovery 1.0, section 3;
// RFC 8414). It names what there is, and no more.
func (i *Issuer) discovery(w http.ResponseWriter, r *http.Request) error {
	if err := i.host.EnsureSigningKeys(r.Context()); err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	document, err := json.Marshal(struct {
		Issuer     string   `json:"issuer"`
		JWKS       string   `json:"jwks_uri"`
		Responses  []string `json:"response_types_supported"`
		Subjects   []string `json:"subject_types_supported"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}{i.Issuer, strings.TrimSuffix(i.Issuer, "/") + i.JWKS, []string{}, []string{"public"}, i.ring.Algorithms()})
	if err != nil {
		return err
	}
	writePublic(w, r, document)
	return nil
}

func writePublic(w http.ResponseWriter, r *http.Request, document []byte) {
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", keysLifetime))
	w.Header().Set("Access-Control-Allow-Origin", "*")
	writeRaw(w, r, http.StatusOK, document)
}
