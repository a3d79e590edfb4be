<?php
// The filters of filter.rs in plain PHP, for orientation: nanoseconds an evaluation (minimum and median),
// as a JSON list.
// It knows only what those filters use and leaves out everything that makes the real thing slower.

function at(array $document, string $path) {
    foreach (explode('.', $path) as $key) {
        if (!is_array($document) || !isset($document[$key])) {
            return null;
        }
        $document = $document[$key];
    }
    return $document;
}

function holds($value, $condition): bool {
    if (!is_array($condition)) {
        return is_string($condition) && $condition !== '' && $condition[0] === '/'
            ? (bool)preg_match($condition, $value)
            : $value === $condition;
    }
    foreach ($condition as $operator => $operand) {
        $pass = match ($operator) {
            '$gte' => $value >= $operand,
            '$in' => in_array($value, $operand),
        };
        if (!$pass) {
            return false;
        }
    }
    return true;
}

function matches(array $filter, array $document): bool {
    foreach ($filter as $path => $condition) {
        if ($path === '$or') {
            $pass = false;
            foreach ($condition as $part) {
                if ($pass = matches($part, $document)) {
                    break;
                }
            }
        } else {
            $value = at($document, $path);
            $pass = $value !== null && holds($value, $condition);
        }
        if (!$pass) {
            return false;
        }
    }
    return true;
}

['document' => $document, 'filters' => $filters] = json_decode(stream_get_contents(STDIN), true);
$times = [];
foreach ($filters as $filter) {
    matches($filter, $document) or exit(1);
    // Batches short enough that on a busy machine most are not interrupted.
    $batches = [];
    for ($batch = 0; $batch < 1001; $batch++) {
        $start = hrtime(true);
        for ($i = 0; $i < 200; $i++) {
            matches($filter, $document);
        }
        $batches[] = (hrtime(true) - $start) / 200;
    }
    sort($batches);
    $times[] = [$batches[0], $batches[500]];
}
echo json_encode($times);
