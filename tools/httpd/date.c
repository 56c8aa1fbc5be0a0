#include "tools/httpd/date.h"

#include <stdint.h>
#include <string.h>

#define LAST_SECOND INT64_C(253402300799)

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void two_digits(char *out, unsigned value)
{
	out[0] = (char)('0' + value / 10 % 10);
	out[1] = (char)('0' + value % 10);
}

/*
 * By hand: libc's functions go through the time zone, with locks, and frames deeper than all
 * else on a connection's stack. Days to a date after Howard Hinnant's civil_from_days: years
 * begin in March, 400 of them have 146,097 days. Times before 1970 or after 9999 are cut off.
 */
void date_write(time_t when, char out[DATE_LEN])
{
	uint64_t now = when < 0 ? 0 : when > LAST_SECOND ? LAST_SECOND : (uint64_t)when;
	unsigned second = (unsigned)(now % 86400), day = (unsigned)(now / 86400);
	unsigned era_day = (day + 719468) % 146097, era = (day + 719468) / 146097;
	unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
	unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
	unsigned month = (5 * year_day + 2) / 153; /* from March */
	unsigned year = era * 400 + era_year + (month >= 10);

	memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", DATE_LEN);
	memcpy(out, days + (day + 4) % 7 * 3, 3); /* the first was a Thursday */
	two_digits(out + 5, year_day - (153 * month + 2) / 5 + 1);
	memcpy(out + 8, months + (month + 2) % 12 * 3, 3);
	two_digits(out + 12, year / 100);
	two_digits(out + 14, year % 100);
	two_digits(out + 17, second / 3600);
	two_digits(out + 20, second / 60 % 60);
	two_digits(out + 23, second % 60);
}

bool date_read(const char *text, size_t len, time_t *when)
{
	static const char *const formats[] = {
		"%a, %d %b %Y %H:%M:%S GMT", /* RFC 9110 */
		"%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
		"%a %b %d %H:%M:%S %Y",	     /* asctime(3) */
	};
	char copy[48];

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(copy, formats[i], &tm);

		if (end == NULL || *end != '\0')
			continue;
		*when = timegm(&tm);
		return true;
	}
	return false;
}
