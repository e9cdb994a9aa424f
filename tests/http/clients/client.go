// What tests/http/test_clients.py has every client do, with Go's net/http:
//
//	go run client.go http://127.0.0.1:8000 ann@example.org 'a password' 'an author'
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

var base, email, password, author, token string

type answer struct {
	*http.Response
	body []byte
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(method, path string, body io.Reader, headers ...string) answer {
	request, err := http.NewRequest(method, base+path, body)
	check(err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for at := 0; at < len(headers); at += 2 {
		request.Header.Set(headers[at], headers[at+1])
	}
	response, err := http.DefaultClient.Do(request)
	check(err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	check(err)
	return answer{response, content}
}

func tell(step string, said answer, told any) {
	line, err := json.Marshal([]any{step, said.StatusCode, told})
	check(err)
	fmt.Println(string(line))
}

func text(document []byte, name string) string {
	var fields map[string]any
	check(json.Unmarshal(document, &fields))
	return fields[name].(string)
}

func aBook(title string) []byte {
	book := map[string]string{"title": title, "author": author, "publication_date": "1871-12-01"}
	document, err := json.Marshal(book)
	check(err)
	return document
}

func lines(answered answer) [][]byte {
	return bytes.Split(bytes.TrimSpace(answered.body), []byte("\n"))
}

func main() {
	base, email, password, author = os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	asJSON := []string{"Content-Type", "application/json"}

	account, err := json.Marshal(map[string]string{"email": email, "password": password})
	check(err)
	tell("register", call("POST", "/api/v1/auth/register", bytes.NewReader(account), asJSON...), nil)

	form := url.Values{"username": {email}, "password": {password}}.Encode()
	said := call("POST", "/api/v1/auth/login", strings.NewReader(form), "Content-Type", "application/x-www-form-urlencoded")
	token = text(said.body, "access_token")
	tell("sign in", said, nil)

	said = call("POST", "/api/v1/books", bytes.NewReader(aBook("Käsebrötchen")), asJSON...)
	book, etag := said.Header.Get("Location"), said.Header.Get("ETag")
	tell("create", said, etag)

	said = call("GET", book, nil)
	length := int64(len(said.body))
	tell("read", said, nil)

	query := "?" + url.Values{"author": {author}}.Encode()
	said = call("GET", "/api/v1/books"+query, nil)
	var page struct{ Books []struct{ Title string } }
	check(json.Unmarshal(said.body, &page))
	titles := []string{}
	for _, each := range page.Books {
		titles = append(titles, each.Title)
	}
	tell("list", said, titles)

	said = call("GET", book, nil, "If-None-Match", etag)
	tell("read again", said, len(said.body))

	said = call("HEAD", book, nil)
	tell("head", said, []int64{int64(len(said.body)), length - said.ContentLength})

	ifMatch := append(asJSON, "If-Match", etag)
	said = call("PUT", book, bytes.NewReader(aBook("Butterbrot")), ifMatch...)
	newer := said.Header.Get("ETag")
	tell("replace", said, newer)

	said = call("PUT", book, bytes.NewReader(aBook("Lost")), ifMatch...)
	tell("replace what has changed", said, text(said.body, "type"))

	reader, writer := io.Pipe()
	go func() {
		for number := 1; number <= 3; number++ {
			fmt.Fprintf(writer, "%s\n", aBook(fmt.Sprintf("Käsebrötchen %d", number)))
		}
		writer.Close()
	}()
	said = call("POST", "/api/v1/books/import", reader, "Content-Type", "application/x-ndjson")
	report := lines(said)
	var summary struct{ Created int }
	check(json.Unmarshal(report[len(report)-1], &summary))
	tell("import", said, summary.Created)

	said = call("GET", "/api/v1/books/export"+query, nil)
	titles = []string{}
	for _, line := range lines(said) {
		titles = append(titles, text(line, "title"))
	}
	tell("export", said, titles)

	said = call("DELETE", book, nil, "If-Match", newer)
	tell("delete", said, len(said.body))

	said = call("GET", book, nil)
	tell("read what is gone", said, text(said.body, "type"))
}
