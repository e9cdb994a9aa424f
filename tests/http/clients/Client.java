// What tests/http/test_clients.py has every client do, with Java's own HttpClient, which offers HTTP/2 unasked:
//
//     java Client.java http://127.0.0.1:8000 ann@example.org 'a password' 'an author'

import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

class Client {
    static final String JSON = "application/json";
    static HttpClient client = HttpClient.newHttpClient();
    static String base, email, password, author, token;

    static HttpResponse<String> call(String method, String path, BodyPublisher body, String... headers) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + path)).method(method, body);
        if (token != null) {
            request.header("Authorization", "Bearer " + token);
        }
        if (headers.length > 0) {
            request.headers(headers);
        }
        return client.send(request.build(), BodyHandlers.ofString());
    }

    static HttpResponse<String> call(String method, String path, String... headers) throws Exception {
        return call(method, path, BodyPublishers.noBody(), headers);
    }

    static void tell(String step, HttpResponse<?> answer, String told) {
        System.out.printf("[\"%s\", %d, %s]%n", step, answer.statusCode(), told);
    }

    static String quoted(String text) {
        return '"' + text.replace("\"", "\\\"") + '"';
    }

    static String aBook(String title) {
        return String.format("{\"title\":%s,\"author\":%s,\"publication_date\":\"1871-12-01\"}", quoted(title), quoted(author));
    }

    static List<String> all(String text, String pattern) {
        List<String> found = new ArrayList<>();
        Matcher matcher = Pattern.compile(pattern).matcher(text);
        while (matcher.find()) {
            found.add(matcher.group(1));
        }
        return found;
    }

    static String titles(String text) {
        return all(text, "\"title\":\"([^\"]*)\"").stream().map(Client::quoted).collect(Collectors.joining(", ", "[", "]"));
    }

    static String inForm(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        base = arguments[0];
        email = arguments[1];
        password = arguments[2];
        author = arguments[3];

        String account = String.format("{\"email\":%s,\"password\":%s}", quoted(email), quoted(password));
        HttpResponse<String> answer =
            call("POST", "/api/v1/auth/register", BodyPublishers.ofString(account), "Content-Type", JSON);
        tell("register", answer, "null");

        String form = "username=" + inForm(email) + "&password=" + inForm(password);
        answer = call(
            "POST", "/api/v1/auth/login", BodyPublishers.ofString(form), "Content-Type", "application/x-www-form-urlencoded");
        token = all(answer.body(), "\"access_token\":\"([^\"]*)\"").get(0);
        tell("sign in", answer, "null");

        answer = call("POST", "/api/v1/books", BodyPublishers.ofString(aBook("Käsebrötchen")), "Content-Type", JSON);
        String book = answer.headers().firstValue("Location").get();
        String etag = answer.headers().firstValue("ETag").get();
        tell("create", answer, quoted(etag));

        answer = call("GET", book);
        int length = answer.body().getBytes(StandardCharsets.UTF_8).length;
        tell("read", answer, "null");

        answer = call("GET", "/api/v1/books?author=" + inForm(author));
        tell("list", answer, titles(answer.body()));

        answer = call("GET", book, "If-None-Match", etag);
        tell("read again", answer, "" + answer.body().length());

        answer = call("HEAD", book);
        long difference = length - answer.headers().firstValueAsLong("Content-Length").getAsLong();
        tell("head", answer, "[" + answer.body().length() + ", " + difference + "]");

        String[] ifMatch = {"Content-Type", JSON, "If-Match", etag};
        answer = call("PUT", book, BodyPublishers.ofString(aBook("Butterbrot")), ifMatch);
        String newer = answer.headers().firstValue("ETag").get();
        tell("replace", answer, quoted(newer));

        answer = call("PUT", book, BodyPublishers.ofString(aBook("Lost")), ifMatch);
        tell("replace what has changed", answer, quoted(all(answer.body(), "\"type\":\"([^\"]*)\"").get(0)));

        String lines = "";
        for (int number = 1; number <= 3; number++) {
            lines += aBook("Käsebrötchen " + number) + "\n";
        }
        byte[] upload = lines.getBytes(StandardCharsets.UTF_8);
        // A new client has made no offer yet, and makes it on a body whose length is not known.
        client = HttpClient.newHttpClient();
        answer = call(
            "POST",
            "/api/v1/books/import",
            BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(upload)),
            "Content-Type",
            "application/x-ndjson");
        tell("import", answer, all(answer.body(), "\"created\":([0-9]*)").get(0));

        answer = call("GET", "/api/v1/books/export?author=" + inForm(author));
        tell("export", answer, titles(answer.body()));

        answer = call("DELETE", book, "If-Match", newer);
        tell("delete", answer, "" + answer.body().length());

        answer = call("GET", book);
        tell("read what is gone", answer, quoted(all(answer.body(), "\"type\":\"([^\"]*)\"").get(0)));
    }
}
