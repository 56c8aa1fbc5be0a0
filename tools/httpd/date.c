#include "tools/httpd/date.h"

#include <string.h>

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void two_digits(char *out, int value)
{
	out[0] = (char)('0' + value / 10 % 10);
	out[1] = (char)('0' + value % 10);
}

/* By hand: strftime asks for the locale and the time zone. */
void date_write(time_t when, char out[DATE_LEN])
{
	struct tm tm = { 0 };

	(void)gmtime_r(&when, &tm); /* years beyond int: 1900 is as good as any */
	memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", DATE_LEN);
	memcpy(out, days + tm.tm_wday * 3, 3);
	two_digits(out + 5, tm.tm_mday);
	memcpy(out + 8, months + tm.tm_mon * 3, 3);
	two_digits(out + 12, (tm.tm_year + 1900) / 100);
	two_digits(out + 14, tm.tm_year % 100);
	two_digits(out + 17, tm.tm_hour);
	two_digits(out + 20, tm.tm_min);
	two_digits(out + 23, tm.tm_sec);
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
