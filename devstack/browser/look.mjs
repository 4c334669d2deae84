// Looks at pages with a real browser, for browser.go: reads a job from standard input, writes what it saw to standard output.
import { chromium } from 'playwright-core'

const job = JSON.parse(await new Response(process.stdin).text())
const browser = await chromium.launch({ executablePath: job.executable, chromiumSandbox: !job.root })
try {
  const context = await browser.newContext({
    viewport: { width: job.width, height: job.height },
    timezoneId: 'UTC',
    ...(job.user && { httpCredentials: { username: job.user, password: job.password } }),
  })
  const seen = []
  for (const page of job.pages) seen.push(await look(context, page))
  console.log(JSON.stringify(seen))
} finally {
  await browser.close()
}

// look opens a page and returns its text once everything that is waited for can be read, or the time is over.
async function look(context, { url, wait, patience, show, screenshot }) {
  const tab = await context.newPage()
  await tab.goto(url)
  const end = Date.now() + patience
  let text, missing
  do {
    await tab.waitForTimeout(200)
    text = await read(tab)
    missing = wait.filter((phrase) => !text.includes(phrase))
  } while (missing.length > 0 && Date.now() < end)
  if (show) await tab.getByText(show).first().scrollIntoViewIfNeeded()
  if (screenshot) await tab.screenshot({ path: screenshot, animations: 'disabled' })
  await tab.close()
  return { text, missing }
}

// read returns what people read, frames and drawings included: details are shown in a frame, the timeline is drawn.
async function read(tab) {
  const texts = await Promise.all(
    tab.frames().map((frame) =>
      frame
        .evaluate(() => {
          const drawn = [...document.querySelectorAll('svg text, svg foreignObject')].map((e) => e.textContent)
          return [document.body?.innerText ?? '', ...drawn].join('\n')
        })
        .catch(() => ''), // it is being replaced
    ),
  )
  return texts.join('\n')
}
