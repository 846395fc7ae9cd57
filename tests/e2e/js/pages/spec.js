// Runs the specification that tus-js-client publishes with its package, as far as it speaks to a real
// server; which package is said in the address: ?tus-js-client
{
  const env = jasmine.getEnv()
  const specs = []
  const script = document.createElement('script')

  env.configure({ random: false, specFilter: (spec) => spec.getFullName().startsWith('tus end-to-end') })
  env.addReporter({
    specDone({ status, description, failedExpectations }) {
      if (status !== 'excluded') specs.push({ status, description, failed: failedExpectations.map((one) => one.message) })
    },
  })
  script.src = `/made/${location.search.slice(1)}.js`
  script.onload = () => {
    window.run = async () => {
      const { overallStatus } = await env.execute()
      return { outcome: overallStatus, specs }
    }
  }
  document.head.append(script)
}
