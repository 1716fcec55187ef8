// SPDX-License-Identifier: MIT
/* SQLite at work: rows, indexes, transactions, triggers, and a search in text. */
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

static struct sqlite3 *db;

static int print(void *unused, int nr, char **values, char **names)
{
	int i;

	(void)unused;
	for (i = 0; i < nr; i++)
		printf("%s%s=%s", i ? " " : "", names[i], values[i] ? values[i] : "null");
	putchar('\n');
	return 0;
}

static void run(const char *sql)
{
	char *error;

	if (sqlite3_exec(db, sql, print, NULL, &error)) {
		printf("%s: %s\n", sql, error);
		exit(1);
	}
}

static void fill(int rows)
{
	static const char *const words[] = { "sealed", "open", "line", "block", "pool", "view" };
	sqlite3_stmt *stmt;
	unsigned int seed = 1;
	char text[100];
	int i;

	sqlite3_prepare_v2(db, "INSERT INTO item(a, b, c) VALUES (?, ?, ?)", -1, &stmt, NULL);
	for (i = 0; i < rows; i++) {
		seed = seed * 1103515245 + 12345;
		snprintf(text, sizeof(text), "%s %s %d", words[seed / 65536 % 6],
			 words[seed / 1024 % 6], i % 97);
		sqlite3_bind_int(stmt, 1, (int)(seed / 65536 % 1000));
		sqlite3_bind_double(stmt, 2, i / 7.0);
		sqlite3_bind_text(stmt, 3, text, -1, SQLITE_TRANSIENT);
		if (sqlite3_step(stmt) != SQLITE_DONE)
			printf("insert: %s\n", sqlite3_errmsg(db));
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
}

int main(int argc, char **argv)
{
	int rows = argc > 1 ? atoi(argv[1]) : 5000;

	if (sqlite3_open(":memory:", &db))
		return 1;
	run("CREATE TABLE item(id INTEGER PRIMARY KEY, a INT, b REAL, c TEXT)");
	run("CREATE TABLE log(n INT)");
	run("CREATE TRIGGER t AFTER DELETE ON item BEGIN INSERT INTO log VALUES (old.a); END");
	run("BEGIN");
	fill(rows);
	run("COMMIT");
	run("CREATE INDEX by_a ON item(a, b)");
	run("SELECT count(*), sum(a), round(avg(b), 6), max(c) FROM item");
	run("SELECT a, count(*) AS n FROM item GROUP BY a ORDER BY n DESC, a LIMIT 5");
	run("SELECT x.id, y.id FROM item x JOIN item y ON x.a = y.a AND x.b < y.b "
	    "WHERE x.a = 77 ORDER BY x.id, y.id LIMIT 8");
	run("WITH RECURSIVE f(n, a, b) AS (SELECT 1, 0, 1 UNION ALL SELECT n + 1, b, a + b "
	    "FROM f WHERE n < 40) SELECT max(b) FROM f");
	run("BEGIN");
	run("DELETE FROM item WHERE a % 3 = 0");
	run("SELECT count(*), (SELECT count(*) FROM log) FROM item");
	run("ROLLBACK");
	run("SELECT count(*), (SELECT count(*) FROM log) FROM item");
	run("CREATE VIRTUAL TABLE text USING fts5(c)");
	run("INSERT INTO text(rowid, c) SELECT id, c FROM item");
	run("SELECT count(*) FROM text WHERE text MATCH 'sealed AND block'");
	run("SELECT rowid, highlight(text, 0, '[', ']') FROM text WHERE text MATCH 'view 42' "
	    "ORDER BY rowid LIMIT 3");
	run("SELECT group_concat(printf('%x', a * 3), ',') FROM (SELECT DISTINCT a FROM item "
	    "ORDER BY a LIMIT 12)");
	run("PRAGMA integrity_check");
	sqlite3_close(db);
	return 0;
}
