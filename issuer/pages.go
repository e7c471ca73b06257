package issuer

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"

	"github.com/edgeauth/caddy-edgeauth/internal/words"
)

// Pages says how the pages look.
type Pages struct {
	// Title stands in the title of each page, after what the page is.
	Title string `json:"title,omitempty"`

	// Logo is the address of an image. Default: none.
	Logo string `json:"logo,omitempty"`

	// Color of buttons, as CSS has them: #0b5fff or a name. It needs enough
	// contrast with white. Default: #0b57d0.
	Color string `json:"color,omitempty"`

	// Templates is a folder of Go templates that take the place of ours by file
	// name: base.html, login.html, second.html, recovery.html, logout.html,
	// account.html, message.html.
	Templates string `json:"templates,omitempty"`

	// Languages are files of texts in JSON, by language tag (BCP 47), such as de.
	// What one lacks is in English. English needs none; "en" replaces texts of it.
	Languages map[string]string `json:"languages,omitempty"`
}

//go:embed pages
var builtIn embed.FS

const (
	english      = "en"
	defaultColor = "#0b57d0"
)

var cssColor = regexp.MustCompile(`^(#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,30})$`)

// pages are ready to be shown, in each language.
type pages struct {
	Pages

	csp       string
	scripts   bool // passkeys need them
	matcher   language.Matcher
	tags      []string // in the order that matcher knows them
	languages map[string]translation
}

// translation is all pages in one language.
type translation struct {
	texts     map[string]string
	templates map[string]*template.Template
}

var pageNames = []string{"login.html", "second.html", "recovery.html", "logout.html", "account.html", "message.html"}

func newPages(config Pages, formOrigins []string, scripts bool) (*pages, error) {
	if config.Color == "" {
		config.Color = defaultColor
	}
	if !cssColor.MatchString(config.Color) {
		return nil, fmt.Errorf("color '%s': one such as #0b57d0 or navy is needed", config.Color)
	}
	p := &pages{Pages: config, languages: make(map[string]translation)}
	p.csp = "default-src 'none'; style-src 'nonce-%[1]s'; img-src 'self' https: data:; form-action " +
		strings.Join(append([]string{"'self'"}, formOrigins...), " ") + "; frame-ancestors 'none'; base-uri 'none'"
	p.scripts = scripts
	if scripts {
		p.csp += "; script-src 'nonce-%[1]s'; connect-src 'self'"
	}
	var plain map[string]string
	data, err := builtIn.ReadFile("pages/en.json")
	if err == nil {
		err = json.Unmarshal(data, &plain)
	}
	if err != nil {
		return nil, err
	}
	p.tags = []string{english} // which is what a client gets that wants another
	for _, tag := range slices.Sorted(maps.Keys(config.Languages)) {
		if tag != english {
			p.tags = append(p.tags, tag)
		}
	}
	var tags []language.Tag
	for _, name := range p.tags {
		tag, err := language.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("language '%s': a tag such as de or pt-BR is needed", name)
		}
		texts := maps.Clone(plain)
		if file := config.Languages[name]; file != "" {
			if err := readTexts(file, texts); err != nil {
				return nil, fmt.Errorf("language '%s': %w", name, err)
			}
		}
		if p.languages[name], err = p.translate(texts); err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	p.matcher = language.NewMatcher(tags)
	return p, nil
}

// readTexts takes over the texts of a file. One that no page has is a mistake.
func readTexts(file string, texts map[string]string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var given map[string]string
	if err := json.Unmarshal(data, &given); err != nil {
		return fmt.Errorf("'%s': an object of texts in JSON is needed: %w", file, err)
	}
	for name := range given {
		if _, known := texts[name]; !known {
			return fmt.Errorf("'%s': %w", file, words.Unknown("text", name, slices.Sorted(maps.Keys(texts))))
		}
	}
	maps.Copy(texts, given)
	return nil
}

func (p *pages) translate(texts map[string]string) (translation, error) {
	t := translation{texts: texts, templates: make(map[string]*template.Template)}
	base, err := p.read("base.html")
	if err != nil {
		return t, err
	}
	for _, name := range pageNames {
		body, err := p.read(name)
		if err != nil {
			return t, err
		}
		parsed, err := template.New("base.html").Funcs(template.FuncMap{"t": func(key string) string { return texts[key] }}).Parse(base)
		if err == nil {
			parsed, err = parsed.Parse(body)
		}
		if err != nil {
			return t, fmt.Errorf("template %s: %w", name, err)
		}
		t.templates[name] = parsed
	}
	return t, nil
}

// read returns a template: the user's, else ours.
func (p *pages) read(name string) (string, error) {
	if p.Templates != "" {
		data, err := os.ReadFile(filepath.Join(p.Templates, name))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return string(data), err
		}
		if _, err := os.Stat(p.Templates); err != nil {
			return "", fmt.Errorf("templates: %w", err)
		}
	}
	data, err := builtIn.ReadFile("pages/" + name)
	return string(data), err
}

// page is what templates are given.
type page struct {
	Language, Nonce    string
	Passkeys           bool
	Title, Logo, Color string
	Error, Message     string // of what was just done
	Data               any    // of the page itself
}

// languageOf is the one of ours that suits the client best.
func (p *pages) languageOf(r *http.Request) string {
	wanted, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil {
		return english
	}
	_, index, _ := p.matcher.Match(wanted...)
	return p.tags[index]
}

// show sends a page. said and wrong are keys of texts.
func (p *pages) show(w http.ResponseWriter, r *http.Request, status int, name, said, wrong string, data any) error {
	tag := p.languageOf(r)
	nonce := rand.Text()
	var body bytes.Buffer
	err := p.languages[tag].templates[name].Execute(&body, page{
		Language: tag, Nonce: nonce, Passkeys: p.scripts, Title: p.Title, Logo: p.Logo, Color: p.Color,
		Message: p.languages[tag].texts[said], Error: p.languages[tag].texts[wrong], Data: data,
	})
	if err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Language", tag)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", fmt.Sprintf(p.csp, nonce))
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes()) // the client is gone; there is nobody to tell
	}
	return nil
}
