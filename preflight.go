package edgeauth

import "net/http"

// isPreflight reports whether a browser asks whether a script of another site may
// make a request (Fetch standard, section 4.8). Whatever else has the method OPTIONS,
// or a body, is none.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1 &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 && r.Header.Get("Upgrade") == "" && !overridesMethod(r)
}

// overridesMethod reports whether a request asks to be taken for one of another
// method, as some applications do.
func overridesMethod(r *http.Request) bool {
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}
