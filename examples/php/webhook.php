<?php

// Receives webhooks of openregister-webhooks: verifies each, and stores it exactly once.
//
// A delivery may come more than once: after a timeout, a crash on either side, or a replay. Its `webhook-id` is the same every time. So the
// id and everything that the delivery changes are written in one transaction, before the answer. After a crash either both are there or
// neither is, and if the answer was lost, the repeat finds the id and changes nothing.

declare(strict_types=1);

// An update carries an object three times. A larger body gets 413; it is sent again, and given up in the end.
// PHP itself takes at most `post_max_size` (8 MB, unless it was configured otherwise).
const LARGEST_BODY = 16 * 1024 * 1024;
const TOLERANCE_SECONDS = 300;

const SCHEMA = <<<'SQL'
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS inbox (webhook_id TEXT PRIMARY KEY, received_at INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS inbox_received_at ON inbox (received_at);
    CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, event TEXT NOT NULL, uuid TEXT, body TEXT NOT NULL);
    SQL;
// Ids are kept for longer than the sidecar can send a delivery again (three days, unless it was configured otherwise).
const FORGET = 'DELETE FROM inbox WHERE webhook_id IN (SELECT webhook_id FROM inbox WHERE received_at < ? LIMIT 10)';
const KEEP_SECONDS = 30 * 86400;

function answer(int $status, string $text = ''): never
{
    http_response_code($status);
    header('Content-Type: text/plain');
    exit($text);
}

/** Whether a request was signed with the secret, and within the last five minutes. The scheme is that of Standard Webhooks. */
function isGenuine(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    if ($key === false || $key === '') {
        throw new RuntimeException('the signing secret is not whsec_ and base64');
    }
    if ($id === '' || !ctype_digit($timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // While a secret is being rotated there are two signatures; one good one is enough.
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals($expected, $signature)) {
            return true;
        }
    }
    return false;
}

function connect(): PDO
{
    $file = getenv('DATABASE') ?: 'webhooks.sqlite';
    // Waits at most 5 s for another writer, so that the answer comes within the webhook's timeout of 15 s.
    $options = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 5];
    $database = new PDO("sqlite:$file", options: $options);
    $database->exec(SCHEMA);
    return $database;
}

/** Writes the id and the effect together. False if the delivery has been here before. */
function store(PDO $database, string $webhookId, array $event, string $body): bool
{
    $database->beginTransaction();
    $inbox = $database->prepare('INSERT INTO inbox (webhook_id, received_at) VALUES (?, ?) ON CONFLICT DO NOTHING');
    $inbox->execute([$webhookId, time()]);
    $isNew = $inbox->rowCount() === 1;
    if ($isNew) {
        // The effect. Replace it with your own, in this transaction.
        $journal = $database->prepare('INSERT INTO journal (event, uuid, body) VALUES (?, ?, ?)');
        $journal->execute([$event['event'], $event['data']['object']['uuid'] ?? null, $body]);
        $database->prepare(FORGET)->execute([time() - KEEP_SECONDS]);
    }
    $database->commit();
    return $isNew;
}

if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST') {
    answer(405, "send a POST\n");
}
// The bytes as they came: the signature covers them.
$body = file_get_contents('php://input', length: LARGEST_BODY + 1);
if ((int) ($_SERVER['CONTENT_LENGTH'] ?? 0) > LARGEST_BODY || strlen($body) > LARGEST_BODY) {
    answer(413, "the body is too large\n");
}
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$signatures = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
try {
    // The signing secret of the webhook, whsec_…, in a file that only this program may read. The web server must not serve it.
    $secret = trim(file_get_contents(getenv('WEBHOOK_SECRET_FILE') ?: 'secret'));
    if (!isGenuine($secret, $id, $timestamp, $signatures, $body)) {
        answer(401, "not accepted: the signature is not good, or it is older than five minutes\n");
    }
    if (($_SERVER['HTTP_ORW_REASON'] ?? '') === 'test') {
        answer(204); // `openregister-webhooks webhook test`: nothing has happened
    }
    $event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
    $isNew = store(connect(), $id, $event, $body);
} catch (Throwable $error) {
    // PHP's connection ends with the request, and what was not committed is rolled back. It is sent again later.
    error_log("not stored: {$error->getMessage()}");
    answer(503, "try again later\n");
}
error_log(($isNew ? 'stored' : 'repeat') . " $id {$event['event']}");
answer(204);
