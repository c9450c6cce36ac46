// timestamp extension: a text of the time on every message that the server sends.
//
// Source: protocol reference 7.2; the form is that of CometD's server extension, `Sun Nov 22 01:19:41 GMT 2026`.

/** @param now epoch ms */
export function timestampOf(now: number): string {
  const [weekday, day, month, year, time, zone] = new Date(now).toUTCString().replace(',', '').split(' ')
  return `${weekday} ${month} ${day} ${time} ${zone} ${year}`
}
